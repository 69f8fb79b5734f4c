//! Chance that can be repeated: everything random in a run comes from its seed.

use super::proxy::Point;
use std::time::Duration;

/// SplitMix64.
pub(super) struct Dice(u64);

/// One kill.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// When; None: at this random time after the calls began.
    pub(super) point: Result<Point, Duration>,
    /// How many accounts are called for when it happens.
    pub(super) accounts: usize,
    /// Which instance, modulo their number.
    pub(super) instance: usize,
}

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below a bound, which is small enough for a remainder to be fair.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or(0)
    }

    /// A kill: half of them at a random time, half where the proxy says.
    pub(super) fn plan(&mut self) -> Plan {
        // Beyond the window in which a loss is excused, too: there must be none there.
        const DELAYS: [u64; 8] = [0, 1, 3, 10, 30, 100, 600, 1000];
        let point = match self.below(10) {
            0 => Ok(Point::Withheld),
            1 => Ok(Point::Sent),
            2 => Ok(Point::Answered),
            3 => Ok(Point::HalfPassed),
            4 | 5 => Ok(Point::Passed(Duration::from_millis(DELAYS[self.below(DELAYS.len())]))),
            _ => Err(Duration::from_millis(self.next() % 400)),
        };
        Plan { point, accounts: 1 + self.below(2), instance: self.below(1000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_another_one_differs() {
        let drawn = |seed| {
            let mut dice = Dice::new(seed);
            (0..20).map(|_| format!("{:?}", dice.plan())).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let mut dice = Dice::new(1);
        assert!((0..1000).all(|_| dice.below(3) < 3 && (1..=2).contains(&dice.plan().accounts)));
    }
}
