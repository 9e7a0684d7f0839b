//! Servers that fail at a chosen step, for failures that a real server cannot produce.
//!
//! They run on their own threads, so that a blocked or paused test runtime does not affect them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// The steps of a server for each connection; after the last one the connection is closed.
#[derive(Clone, Default)]
pub(crate) struct Script {
    steps: Vec<Step>,
}

/// A server that plays a script; dropping it cuts all its connections.
pub(crate) struct Server {
    address: SocketAddr,
    stage: Arc<Stage>,
}

/// A server with a full listen backlog: the kernel does not answer, and connecting hangs.
pub(crate) struct Unreachable {
    listener: Socket,
    waiting: Vec<TcpStream>,
}

#[derive(Clone)]
enum Step {
    ReadStartup,
    ReadMessage,
    Send(Vec<u8>),
    Flood(Vec<u8>),
    Pause(Duration),
    Silence,
    Reset,
}

/// Data shared by a server's threads.
#[derive(Default)]
struct Stage {
    // Weak references, so that a connection closes when its thread ends.
    connections: Mutex<Vec<Weak<TcpStream>>>,
    received: Mutex<Vec<Vec<u8>>>,
    closed: AtomicBool,
}

impl Script {
    pub(crate) fn new() -> Script {
        Script::default()
    }

    /// Reads a packet without a type: SSLRequest, StartupMessage, CancelRequest.
    pub(crate) fn read_startup(self) -> Script {
        self.then(Step::ReadStartup)
    }

    /// Reads a message with a type, such as a password message or a query.
    pub(crate) fn read_message(self) -> Script {
        self.then(Step::ReadMessage)
    }

    /// Sends these bytes unchanged.
    pub(crate) fn send(self, bytes: impl Into<Vec<u8>>) -> Script {
        self.then(Step::Send(bytes.into()))
    }

    /// Sends these bytes again and again, until the client goes.
    pub(crate) fn flood(self, bytes: impl Into<Vec<u8>>) -> Script {
        self.then(Step::Flood(bytes.into()))
    }

    /// Pauses.
    pub(crate) fn pause(self, time: Duration) -> Script {
        self.then(Step::Pause(time))
    }

    /// Reads and ignores all input without an answer, until the client closes the connection.
    pub(crate) fn silence(self) -> Script {
        self.then(Step::Silence)
    }

    /// Cuts the connection with a TCP reset.
    pub(crate) fn reset(self) -> Script {
        self.then(Step::Reset)
    }

    /// Runs the script for every client of a free port of 127.0.0.1.
    pub(crate) fn serve(self) -> Server {
        self.serve_on(Ipv4Addr::LOCALHOST.into())
    }

    /// Runs the script on a free port of another address of this machine.
    pub(crate) fn serve_on(self, address: IpAddr) -> Server {
        let listener = TcpListener::bind((address, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stage = Arc::new(Stage::default());
        let behind = Arc::clone(&stage);
        std::thread::spawn(move || behind.open(&listener, &self));
        Server { address, stage }
    }

    fn then(mut self, step: Step) -> Script {
        self.steps.push(step);
        self
    }
}

impl Server {
    /// Accepts connections and never answers.
    pub(crate) fn silent() -> Server {
        Script::new().silence().serve()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        locked(&self.stage.connections).len()
    }

    /// The packets that the read steps of all connections have read, in order of arrival.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        locked(&self.stage.received).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stage.closed.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then notices the end.
        let _ = TcpStream::connect(self.address);
        for connection in locked(&self.stage.connections).iter().filter_map(Weak::upgrade) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Unreachable {
    pub(crate) fn start() -> Unreachable {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("TCP exists");
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        listener.bind(&any.into()).expect("a port is free");
        listener.listen(0).expect("it is bound");
        let mut unreachable = Unreachable { listener, waiting: Vec::new() };
        let address = unreachable.address();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            unreachable.waiting.push(stream);
        }
        unreachable
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.listener.local_addr().expect("it is bound");
        address.as_socket().expect("it is an IPv4 address")
    }
}

impl Stage {
    fn open(self: Arc<Stage>, listener: &TcpListener, script: &Script) {
        for stream in listener.incoming().filter_map(Result::ok) {
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            let (stage, steps) = (Arc::clone(&self), script.steps.clone());
            let stream = Arc::new(stream);
            locked(&self.connections).push(Arc::downgrade(&stream));
            std::thread::spawn(move || stage.play(&stream, steps));
        }
    }

    /// Ends early if the client closes the connection.
    fn play(&self, mut stream: &TcpStream, steps: Vec<Step>) -> io::Result<()> {
        for step in steps {
            match step {
                Step::ReadStartup => self.keep(read_packet(stream, Vec::new())?),
                Step::ReadMessage => self.keep(read_packet(stream, vec![0])?),
                Step::Send(bytes) => stream.write_all(&bytes)?,
                Step::Flood(bytes) => {
                    let many = bytes.repeat(64 * 1024 / bytes.len() + 1);
                    while stream.write_all(&many).is_ok() {}
                }
                Step::Pause(time) => std::thread::sleep(time),
                Step::Silence => drop(io::copy(&mut stream, &mut io::sink())?),
                Step::Reset => return reset(stream),
            }
        }
        stream.shutdown(Shutdown::Both)
    }

    fn keep(&self, packet: Vec<u8>) {
        locked(&self.received).push(packet);
    }
}

/// Reads a packet: an optional type byte, then a length that includes itself but not the type.
fn read_packet(mut stream: &TcpStream, mut packet: Vec<u8>) -> io::Result<Vec<u8>> {
    stream.read_exact(&mut packet)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let body = u64::from(u32::from_be_bytes(length)).saturating_sub(4);
    packet.extend(length);
    stream.take(body).read_to_end(&mut packet)?;
    Ok(packet)
}

/// Closes with RST: with a linger time of zero the kernel sends RST on close, unless a shutdown has sent FIN before.
fn reset(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
