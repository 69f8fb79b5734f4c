//! A DNS server that answers from a script, over UDP and TCP.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

use crate::threads::{fixtures, listen};

/// One scripted answer.
#[derive(Clone, Debug)]
pub enum DnsAnswer {
    /// Addresses.
    A(Vec<Ipv4Addr>),
    /// Addresses.
    Aaaa(Vec<Ipv6Addr>),
    /// Records; each is split into strings of 255 bytes on the wire.
    Txt(Vec<String>),
    /// Another name, without its records.
    Cname(String),
    /// The name exists, without records of this type.
    NoData,
    /// No such name.
    NameError,
    /// The server failed.
    ServerFailure,
    /// The server refuses.
    Refused,
    /// No answer.
    Silence,
    /// The answer comes late.
    Late(Duration, Box<DnsAnswer>),
}

/// The server; shared by clones.
#[derive(Clone, Debug)]
pub struct FaultDns(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    ttl: Mutex<u32>,
    zones: Mutex<HashMap<(String, String), Scripted>>,
    queries: Mutex<Vec<(String, String)>>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Scripted {
    answers: Vec<DnsAnswer>,
    asked: usize,
}

impl FaultDns {
    /// Listens on a free loopback port, UDP and TCP. Knows `localhost`; other names do not exist until scripted.
    pub fn start() -> Self {
        let (listener, address) = listen(0);
        let udp = std::net::UdpSocket::bind(address).expect("the same port over UDP");
        udp.set_nonblocking(true).expect("a non-blocking socket");
        let _inside = fixtures().enter();
        let udp = UdpSocket::from_std(udp).expect("a socket on the fixtures' threads");
        let (stop, stopped) = watch::channel(false);
        let (zones, queries) = Default::default();
        let dns = Self(Arc::new(Inner { address, ttl: Mutex::new(0), zones, queries, stop }));
        dns.script("localhost", "A", vec![DnsAnswer::A(vec![Ipv4Addr::LOCALHOST])]);
        fixtures().spawn(serve_udp(dns.clone(), Arc::new(udp), stopped.clone()));
        fixtures().spawn(serve_tcp(dns.clone(), listener, stopped));
        dns
    }

    /// The socket address, for `BOWERBIRD_DNS_SERVERS`.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Scripts a name and record type (`A`, `AAAA`, `TXT`): the first query gets the first answer and so on; the last
    /// answer repeats.
    pub fn script(&self, name: &str, record_type: &str, answers: Vec<DnsAnswer>) {
        assert!(!answers.is_empty(), "a script needs an answer");
        self.0.zones.lock().insert((plain(name), record_type.to_owned()), Scripted { answers, asked: 0 });
    }

    /// A name that is public at the first query and at this address from the second on (DNS rebinding).
    pub fn flip(&self, name: &str, first: Ipv4Addr, then: Ipv4Addr) {
        self.script(name, "A", vec![DnsAnswer::A(vec![first]), DnsAnswer::A(vec![then])]);
    }

    /// The time to live of all answers, in seconds; 0 at first.
    pub fn set_ttl(&self, seconds: u32) {
        *self.0.ttl.lock() = seconds;
    }

    /// How often a name was asked for, with any type.
    pub fn queries(&self, name: &str) -> usize {
        self.0.queries.lock().iter().filter(|(asked, _)| *asked == plain(name)).count()
    }

    /// Every query, as name and type.
    pub fn all_queries(&self) -> Vec<(String, String)> {
        self.0.queries.lock().clone()
    }

    pub(crate) fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// The answer to a packet; None: stay silent.
    async fn answer(&self, packet: &[u8]) -> Option<Message> {
        let query = Message::from_vec(packet).ok()?;
        let question = query.queries.first()?.clone();
        let (name, kind) = (plain(&question.name().to_string()), question.query_type().to_string());
        let mut scripted = self.next_answer(&name, &kind);
        while let DnsAnswer::Late(by, later) = scripted {
            tokio::time::sleep(by).await;
            scripted = *later;
        }
        let mut answer = Message::response(query.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = query.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.add_query(question.clone());
        let ttl = *self.0.ttl.lock();
        let owner = question.name().clone();
        let mut add = |data: RData| {
            answer.add_answer(Record::from_rdata(owner.clone(), ttl, data));
        };
        match scripted {
            DnsAnswer::A(addresses) => addresses.into_iter().for_each(|address| add(RData::A(A(address)))),
            DnsAnswer::Aaaa(addresses) => addresses.into_iter().for_each(|address| add(RData::AAAA(AAAA(address)))),
            DnsAnswer::Txt(records) => {
                for record in records {
                    add(RData::TXT(TXT::from_bytes(record.as_bytes().chunks(255).collect())));
                }
            }
            DnsAnswer::Cname(target) => add(RData::CNAME(CNAME(Name::from_ascii(target).expect("a domain name")))),
            DnsAnswer::NoData => {}
            DnsAnswer::NameError => answer.metadata.response_code = ResponseCode::NXDomain,
            DnsAnswer::ServerFailure => answer.metadata.response_code = ResponseCode::ServFail,
            DnsAnswer::Refused => answer.metadata.response_code = ResponseCode::Refused,
            DnsAnswer::Silence => return None,
            DnsAnswer::Late(..) => unreachable!("unwrapped above"),
        }
        Some(answer)
    }

    fn next_answer(&self, name: &str, kind: &str) -> DnsAnswer {
        self.0.queries.lock().push((name.to_owned(), kind.to_owned()));
        let mut zones = self.0.zones.lock();
        if let Some(scripted) = zones.get_mut(&(name.to_owned(), kind.to_owned())) {
            let at = scripted.asked.min(scripted.answers.len() - 1);
            scripted.asked += 1;
            return scripted.answers[at].clone();
        }
        let exists = zones.keys().any(|(known, _)| known == name);
        if exists { DnsAnswer::NoData } else { DnsAnswer::NameError }
    }
}

/// The most that is sent over UDP; more is cut, and asked for again over TCP.
const UDP_LIMIT: usize = 1232;

async fn serve_udp(dns: FaultDns, socket: Arc<UdpSocket>, mut stopped: watch::Receiver<bool>) {
    let mut packet = [0; 4096];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut packet) => received,
            _ = stopped.changed() => return,
        };
        let Ok((length, peer)) = received else { continue };
        let (dns, socket, packet) = (dns.clone(), socket.clone(), packet[..length].to_vec());
        fixtures().spawn(async move {
            let Some(answer) = dns.answer(&packet).await else { return };
            let mut bytes = answer.to_vec().expect("an answer that encodes");
            if bytes.len() > UDP_LIMIT {
                bytes = answer.truncate().to_vec().expect("an answer that encodes");
            }
            let _peer_may_be_gone = socket.send_to(&bytes, peer).await;
        });
    }
}

async fn serve_tcp(dns: FaultDns, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        fixtures().spawn(serve_stream(dns.clone(), stream));
    }
}

async fn serve_stream(dns: FaultDns, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let mut packet = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut packet).await?;
        let Some(answer) = dns.answer(&packet).await else { return Ok(()) };
        let bytes = answer.to_vec().expect("an answer that encodes");
        stream.write_u16(u16::try_from(bytes.len()).expect("64 KB at most")).await?;
        stream.write_all(&bytes).await?;
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
