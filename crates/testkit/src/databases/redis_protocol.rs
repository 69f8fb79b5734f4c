//! So much of Redis' protocol as bytes need that no command line carries.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// An answer of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A status or an error.
    Line(String),
    /// A number.
    Number(i64),
    /// A string.
    Bytes(Vec<u8>),
    /// Several.
    List(Vec<Value>),
    /// There is none.
    Nothing,
}

/// Sends a command and reads its answer.
pub(super) fn ask(mut connection: TcpStream, words: &[&[u8]]) -> Value {
    tell(&mut connection, words);
    read(&mut BufReader::new(connection))
}

/// Sends a command.
pub(super) fn tell(connection: &mut TcpStream, words: &[&[u8]]) {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    connection.write_all(&request).expect("redis-server reads");
}

fn read(from: &mut BufReader<TcpStream>) -> Value {
    let mut line = String::new();
    from.read_line(&mut line).expect("an answer");
    let (kind, rest) = line.trim_end().split_at(1);
    match kind {
        "$" if rest == "-1" => Value::Nothing,
        "$" => {
            let mut bytes = vec![0; rest.parse::<usize>().expect("a length") + 2];
            from.read_exact(&mut bytes).expect("a string");
            bytes.truncate(bytes.len() - 2);
            Value::Bytes(bytes)
        }
        "*" => Value::List((0..rest.parse::<usize>().expect("a count")).map(|_| read(from)).collect()),
        ":" => Value::Number(rest.parse().expect("a number")),
        _ => Value::Line(rest.to_owned()),
    }
}
