//! Rows 36 and 42: an answer that sends us elsewhere is just an answer.

use bowerbird_core::ports::HttpClient;
use bytes::Bytes;
use http::Request;

use crate::support::server::Server;
use crate::support::{PURPOSES, Setup};

#[tokio::test]
async fn row_42_redirects_are_never_followed_and_credentials_go_nowhere_else() {
    // Even an exempt place is not followed to.
    let canary = Server::canary().await;
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: {}\r\nrefresh: 0; url={}\r\ncontent-length: 0\r\n\r\n",
            canary.url("/steal"),
            canary.url("/steal"),
        );
        let server = Server::fixed(answer).await;
        let client = Setup::new().allow(server.address).allow(canary.address).client();
        for purpose in PURPOSES {
            let request = Request::get(server.url("/"))
                .header("authorization", "DPoP secret")
                .header("dpop", "proof")
                .body(Bytes::new())
                .unwrap();
            let answer = client.send(request, purpose).await.unwrap();
            assert_eq!(answer.status().as_u16(), status);
            assert_eq!(answer.headers()["location"], canary.url("/steal"));
        }
        let streamed = Request::get(server.url("/")).body(bowerbird_core::ports::full_body("")).unwrap();
        assert_eq!(client.stream(streamed).await.unwrap().status().as_u16(), status);
        assert_eq!(server.requests(), PURPOSES.len() + 1);
    }
    assert_eq!(canary.connections(), 0);
}
