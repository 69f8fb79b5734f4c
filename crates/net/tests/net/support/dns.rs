//! A DNS server on a script.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// Long, so that a cache would show.
const TTL: u32 = 300;

/// What the server does with a question.
pub(crate) enum Reply {
    /// These records, of the name that was asked for.
    Records(Vec<RData>),
    /// An error.
    Code(ResponseCode),
    /// Nothing, ever.
    Silence,
}

impl Reply {
    pub(crate) fn addresses(addresses: &[&str]) -> Self {
        Self::Records(addresses.iter().map(|text| address(text.parse().unwrap())).collect())
    }

    /// No such name.
    pub(crate) fn nothing() -> Self {
        Self::Code(ResponseCode::NXDomain)
    }
}

pub(crate) fn address(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    }
}

pub(crate) fn txt(parts: &[&str]) -> RData {
    RData::TXT(TXT::new(parts.iter().map(|&part| part.to_owned()).collect()))
}

pub(crate) fn cname(target: &str) -> RData {
    RData::CNAME(CNAME(Name::from_ascii(target).unwrap()))
}

/// A question, as the script sees it.
pub(crate) struct Question {
    /// Lower case, with its final dot.
    pub(crate) name: String,
    pub(crate) kind: RecordType,
    /// How many questions of this kind came before.
    pub(crate) number: usize,
}

type Script = dyn Fn(&Question) -> Reply + Send + Sync;

/// A server on UDP and TCP, the same port.
pub(crate) struct FaultDns {
    pub(crate) address: SocketAddr,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    a: AtomicUsize,
    other: AtomicUsize,
}

impl FaultDns {
    pub(crate) async fn start(script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let counters = Arc::<Counters>::default();
        let (udp, tcp) = both_on_one_port().await;
        let address = udp.local_addr().unwrap();
        tokio::spawn(serve_udp(udp, Arc::clone(&script), Arc::clone(&counters)));
        tokio::spawn(serve_tcp(tcp, script, Arc::clone(&counters)));
        Self { address, counters }
    }

    /// The questions for A records so far.
    pub(crate) fn questions_for_a(&self) -> usize {
        self.counters.a.load(Ordering::SeqCst)
    }

    /// All questions so far.
    pub(crate) fn questions(&self) -> usize {
        self.questions_for_a() + self.counters.other.load(Ordering::SeqCst)
    }
}

async fn both_on_one_port() -> (UdpSocket, TcpListener) {
    for _ in 0..50 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

async fn serve_udp(socket: UdpSocket, script: Arc<Script>, counters: Arc<Counters>) {
    let mut buffer = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = answer(&buffer[..length], &script, &counters) {
            // What does not fit is cut off, and the client must come by TCP.
            let whole = answer.to_vec().unwrap();
            let datagram = if whole.len() > 1200 { answer.truncate().to_vec().unwrap() } else { whole };
            socket.send_to(&datagram, peer).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, script: Arc<Script>, counters: Arc<Counters>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (script, counters) = (Arc::clone(&script), Arc::clone(&counters));
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut buffer = vec![0; length.into()];
                stream.read_exact(&mut buffer).await.unwrap();
                if let Some(answer) = answer(&buffer, &script, &counters) {
                    let bytes = answer.to_vec().unwrap();
                    stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                }
            }
        });
    }
}

fn answer(bytes: &[u8], script: &Arc<Script>, counters: &Counters) -> Option<Message> {
    let query = Message::from_vec(bytes).unwrap();
    let asked = query.queries[0].clone();
    let counter = if asked.query_type() == RecordType::A { &counters.a } else { &counters.other };
    let number = counter.fetch_add(1, Ordering::SeqCst);
    let name = asked.name().to_lowercase().to_string();
    let reply = script(&Question { name, kind: asked.query_type(), number });
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.metadata.recursion_desired = true;
    answer.metadata.recursion_available = true;
    match reply {
        Reply::Records(records) => {
            answer.add_answers(records.into_iter().map(|data| Record::from_rdata(asked.name().clone(), TTL, data)));
        }
        Reply::Code(code) => answer.metadata.response_code = code,
        Reply::Silence => return None,
    }
    answer.add_query(asked);
    Some(answer)
}

/// Addresses of the kind that was asked for, out of a mixed list.
pub(crate) fn of_kind(question: &Question, addresses: &[&str]) -> Reply {
    let wanted = |text: &&&str| match question.kind {
        RecordType::A => !text.contains(':'),
        RecordType::AAAA => text.contains(':'),
        _ => false,
    };
    Reply::addresses(&addresses.iter().filter(wanted).copied().collect::<Vec<_>>())
}
