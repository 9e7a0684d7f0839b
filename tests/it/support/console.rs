//! A pooler's console that answers from tables, for versions and poolers that cannot be installed here.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The answer to a command: names and types of columns, and rows in which `None` is NULL.
#[derive(Clone, Default)]
pub(crate) struct Shown {
    pub(crate) columns: Vec<(String, u32)>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// The types of columns.
pub(crate) const TEXT: u32 = 25;
pub(crate) const INT4: u32 = 23;
pub(crate) const INT8: u32 = 20;
pub(crate) const NUMERIC: u32 = 1700;

/// The settings of a console.
#[derive(Clone)]
pub(crate) struct Recorded {
    /// The parameter `server_version`.
    pub(crate) version: String,
    /// The answers by command; any other command is an error.
    pub(crate) shown: BTreeMap<String, Shown>,
    /// The error for a command that does not exist; `{}` stands for the command.
    pub(crate) unknown: &'static str,
}

/// A running console.
pub(crate) struct Console {
    address: SocketAddr,
    stage: Arc<Stage>,
}

struct Stage {
    recorded: Mutex<Recorded>,
    hangs: AtomicBool,
    open: AtomicUsize,
    most: AtomicUsize,
    asked: Mutex<Vec<String>>,
}

impl Shown {
    /// A table of words; `-` is NULL. All columns are text.
    pub(crate) fn of(columns: &str, rows: &[&str]) -> Shown {
        let words = |row: &&str| {
            row.split(' ').map(|word| Some(word.to_owned()).filter(|word| word != "-")).collect()
        };
        Shown {
            columns: columns.split(' ').map(|name| (name.to_owned(), TEXT)).collect(),
            rows: rows.iter().map(words).collect(),
        }
    }
}

impl Console {
    /// Serves on a free port of 127.0.0.1, for every user without a password.
    pub(crate) fn start(recorded: Recorded) -> Console {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stage = Arc::new(Stage {
            recorded: Mutex::new(recorded),
            hangs: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            asked: Mutex::default(),
        });
        let behind = Arc::clone(&stage);
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let stage = Arc::clone(&behind);
                let open = stage.open.fetch_add(1, Ordering::SeqCst) + 1;
                stage.most.fetch_max(open, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let _ = stage.serve(&stream);
                    stage.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Console { address, stage }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on nothing is answered, on old connections and on new ones; or again.
    pub(crate) fn hang(&self, hangs: bool) {
        self.stage.hangs.store(hangs, Ordering::SeqCst);
    }

    /// Replaces the answer to a command.
    pub(crate) fn answer(&self, command: &str, shown: Shown) {
        locked(&self.stage.recorded).shown.insert(command.to_owned(), shown);
    }

    /// The most connections that were open at once.
    pub(crate) fn most_connections(&self) -> usize {
        self.stage.most.load(Ordering::SeqCst)
    }

    /// How often a command was sent.
    pub(crate) fn asked(&self, command: &str) -> usize {
        locked(&self.stage.asked).iter().filter(|asked| *asked == command).count()
    }
}

impl Stage {
    fn serve(&self, mut stream: &TcpStream) -> io::Result<()> {
        loop {
            let startup = packet(stream, false)?;
            // SSLRequest: no TLS here.
            if startup.get(4..8) != Some(&80_877_103_u32.to_be_bytes()) {
                break;
            }
            stream.write_all(b"N")?;
        }
        self.wait_while_hanging();
        let version = locked(&self.recorded).version.clone();
        let parameter = [b"server_version\0", version.as_bytes(), b"\0"].concat();
        let mut hello = message(b'R', &0_u32.to_be_bytes());
        hello.extend(message(b'S', &parameter));
        hello.extend(message(b'K', &[0, 0, 0, 7, 0, 0, 0, 7]));
        hello.extend(message(b'Z', b"I"));
        stream.write_all(&hello)?;
        loop {
            let query = packet(stream, true)?;
            if query.first() != Some(&b'Q') {
                return Ok(());
            }
            self.wait_while_hanging();
            let command = String::from_utf8_lossy(&query[5..query.len() - 1]).into_owned();
            stream.write_all(&self.reply(&command))?;
        }
    }

    fn wait_while_hanging(&self) {
        while self.hangs.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn reply(&self, command: &str) -> Vec<u8> {
        locked(&self.asked).push(command.to_owned());
        let recorded = locked(&self.recorded);
        let mut reply = match recorded.shown.get(command) {
            // As PgBouncer answers SHOW VERSION until 1.11.
            Some(shown) if shown.columns.is_empty() => {
                [message(b'N', b"SNOTICE\0C00000\0Mtext\0\0"), message(b'C', b"SHOW\0")].concat()
            }
            Some(shown) => rows(shown),
            None => {
                let text = recorded.unknown.replace("{}", command);
                let fields = format!("SERROR\0C08P01\0M{text}\0\0");
                message(b'E', fields.as_bytes())
            }
        };
        reply.extend(message(b'Z', b"I"));
        reply
    }
}

fn rows(shown: &Shown) -> Vec<u8> {
    let mut body = count(shown.columns.len());
    for (name, of) in &shown.columns {
        body.extend(name.as_bytes());
        body.extend([0; 7]);
        body.extend(of.to_be_bytes());
        body.extend([0, 8, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    }
    let mut reply = message(b'T', &body);
    for row in &shown.rows {
        let mut body = count(row.len());
        for value in row {
            match value {
                None => body.extend((-1_i32).to_be_bytes()),
                Some(text) => {
                    body.extend(u32::try_from(text.len()).expect("short").to_be_bytes());
                    body.extend(text.as_bytes());
                }
            }
        }
        reply.extend(message(b'D', &body));
    }
    reply.extend(message(b'C', b"SHOW\0"));
    reply
}

fn count(number: usize) -> Vec<u8> {
    u16::try_from(number).expect("few columns").to_be_bytes().to_vec()
}

fn message(letter: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
    [&[letter], &length[..], body].concat()
}

fn packet(mut stream: &TcpStream, has_letter: bool) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; if has_letter { 5 } else { 4 }];
    stream.read_exact(&mut packet)?;
    let length = &packet[packet.len() - 4..];
    let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
    let mut body = vec![0; length.saturating_sub(4) as usize];
    stream.read_exact(&mut body)?;
    packet.extend(body);
    Ok(packet)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
