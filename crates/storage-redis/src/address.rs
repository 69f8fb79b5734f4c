//! Where a Redis or Valkey is: `redis://`, `rediss://` (TLS), and the same with `+cluster` for a cluster.

use redis::{ConnectionInfo, IntoConnectionInfo as _};
use url::Url;

use crate::OpenError;

/// One server, or the nodes of a cluster to begin with.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Single(Box<ConnectionInfo>),
    Cluster(Vec<ConnectionInfo>),
}

impl Address {
    /// Reads an address such as `rediss://user:password@cache.example:6380/2`, or
    /// `redis+cluster://:password@a.example:6379?node=b.example:6379&node=c.example:6379`.
    pub(crate) fn parse(text: &str) -> Result<Self, OpenError> {
        let url = Url::parse(text).map_err(|_| OpenError::Address("it is not a URL"))?;
        let (scheme, cluster) = match url.scheme() {
            "redis" | "valkey" => ("redis", false),
            "rediss" | "valkeys" => ("rediss", false),
            "redis+cluster" | "valkey+cluster" => ("redis", true),
            "rediss+cluster" | "valkeys+cluster" => ("rediss", true),
            _ => {
                return Err(OpenError::Address(
                    "it must begin with redis://, rediss://, redis+cluster:// or rediss+cluster://",
                ));
            }
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(OpenError::Address("it names no host"));
        }
        if !cluster && url.query().is_some() {
            return Err(OpenError::Address("it has a query, which only a cluster's address may have"));
        }
        if cluster && !matches!(url.path(), "" | "/" | "/0") {
            return Err(OpenError::Address("a cluster has only database 0"));
        }
        // Another scheme cannot be put into a URL of a scheme that is unknown to the standard; so by text.
        let rest = text.split_once("://").map_or("", |(_, rest)| rest);
        let base = format!("{scheme}://{}", rest.split('?').next().unwrap_or(rest));
        let first = info(&base)?;
        if !cluster {
            return Ok(Self::Single(Box::new(first)));
        }
        let mut nodes = vec![first];
        for (key, value) in url.query_pairs() {
            if key != "node" {
                return Err(OpenError::Address(
                    "a cluster's address may only have node=host:port after the question mark",
                ));
            }
            let credentials = rest.rsplit_once('@').map(|(credentials, _)| format!("{credentials}@"));
            nodes.push(info(&format!("{scheme}://{}{value}", credentials.unwrap_or_default()))?);
        }
        Ok(Self::Cluster(nodes))
    }

    /// Any one node: published messages reach every node of a cluster.
    pub(crate) fn node(&self, turn: usize) -> ConnectionInfo {
        match self {
            Self::Single(info) => (**info).clone(),
            Self::Cluster(nodes) => nodes[turn % nodes.len()].clone(),
        }
    }
}

/// The parser's own words may quote the password, so they are not passed on.
fn info(url: &str) -> Result<ConnectionInfo, OpenError> {
    url.into_connection_info().map_err(|_| OpenError::Address("its host, port or database is not usable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_with_everything() {
        let Address::Single(info) = Address::parse("rediss://app:pa%20ss@cache.example:6380/2").unwrap() else {
            panic!("a single server")
        };
        assert_eq!(info.redis_settings().username(), Some("app"));
        assert_eq!(info.redis_settings().password(), Some("pa ss"));
        assert_eq!(info.redis_settings().db(), 2);
        assert!(matches!(info.addr(), redis::ConnectionAddr::TcpTls { port: 6380, insecure: false, .. }));
    }

    #[test]
    fn a_cluster_shares_its_password() {
        let address = Address::parse("redis+cluster://:secret@a.example:7000?node=b.example:7001&node=c.example:7002");
        let Address::Cluster(nodes) = address.unwrap() else { panic!("a cluster") };
        let places: Vec<String> = nodes.iter().map(|node| node.addr().to_string()).collect();
        assert_eq!(places, ["a.example:7000", "b.example:7001", "c.example:7002"]);
        assert!(nodes.iter().all(|node| node.redis_settings().password() == Some("secret")));
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_password() {
        for text in [
            "",
            "cache.example",
            "http://cache.example",
            "redis://",
            "redis://:secret@/0",
            "redis://:secret@a:port",
            "redis://:secret@a.example/x",
            "redis://:secret@a.example?node=b",
            "redis+cluster://:secret@a.example/3",
            "redis+cluster://:secret@a.example?other=b",
        ] {
            let error = Address::parse(text).expect_err(text);
            assert!(!format!("{error} {error:?}").contains("secret"), "{text}");
        }
    }
}
