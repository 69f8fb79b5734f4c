//! Which requests are traced: the samplers of the OpenTelemetry specification, by their names.

use super::span::TraceId;

/// Decides about a whole trace at its first span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether the caller's decision counts, where a trace begins outside.
    heeds_parent: bool,
    /// The share of traces that are kept.
    ratio: f64,
}

/// A text that names no sampler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SamplerError {
    /// The name is unknown.
    #[error(
        "write one of `always_on`, `always_off`, `traceidratio`, `parentbased_always_on`, `parentbased_always_off`, \
         `parentbased_traceidratio`"
    )]
    Name,
    /// The share is no share.
    #[error("write a share of traces between 0 and 1, such as 0.1")]
    Ratio,
}

impl Sampler {
    /// Reads the name of a sampler and, where it needs one, its share.
    pub fn parse(name: &str, ratio: &str) -> Result<Self, SamplerError> {
        let (heeds_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let ratio = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => ratio.parse().map_err(|_| SamplerError::Ratio)?,
            _ => return Err(SamplerError::Name),
        };
        if (0.0..=1.0).contains(&ratio) { Ok(Self { heeds_parent, ratio }) } else { Err(SamplerError::Ratio) }
    }

    /// Whether a trace is kept. `parent` is what the caller outside decided, if there is one.
    pub(super) fn keeps(&self, trace: TraceId, parent: Option<bool>) -> bool {
        match parent {
            Some(decided) if self.heeds_parent => decided,
            // By the trace's id, so that every service that has the same share keeps the same traces.
            _ => {
                let [.., a, b, c, d, _, _, _, _] = trace.0;
                f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0) < self.ratio
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(name: &str, ratio: &str) -> Sampler {
        Sampler::parse(name, ratio).unwrap()
    }

    fn trace(part: u32) -> TraceId {
        let mut id = [7; 16];
        id[8..12].copy_from_slice(&part.to_be_bytes());
        TraceId(id)
    }

    #[test]
    fn the_named_samplers_do_what_the_specification_says() {
        for part in [0, 1, u32::MAX / 2, u32::MAX] {
            assert!(sampler("always_on", "").keeps(trace(part), None));
            assert!(sampler("always_on", "").keeps(trace(part), Some(false)));
            assert!(!sampler("always_off", "").keeps(trace(part), Some(true)));
            assert!(sampler("parentbased_always_on", "").keeps(trace(part), None));
            assert!(!sampler("parentbased_always_on", "").keeps(trace(part), Some(false)));
            assert!(sampler("parentbased_always_off", "").keeps(trace(part), Some(true)));
            assert!(!sampler("parentbased_always_off", "").keeps(trace(part), None));
        }
        let quarter = sampler("traceidratio", "0.25");
        assert!(quarter.keeps(trace(u32::MAX / 4 - 1), None));
        assert!(!quarter.keeps(trace(u32::MAX / 4 + 2), None));
        assert!(!quarter.keeps(trace(u32::MAX), Some(true)), "the caller's decision does not count");
        assert!(sampler("parentbased_traceidratio", "0.25").keeps(trace(u32::MAX), Some(true)));
    }

    #[test]
    fn what_names_no_sampler_is_refused() {
        assert_eq!(Sampler::parse("sometimes", "1"), Err(SamplerError::Name));
        assert_eq!(Sampler::parse("parentbased_", "1"), Err(SamplerError::Name));
        for bad in ["", "1.1", "-0.1", "NaN", "a tenth"] {
            assert_eq!(Sampler::parse("traceidratio", bad), Err(SamplerError::Ratio), "{bad}");
        }
    }
}
