//! A test server, and clients for it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use db_pool_exporter::api::{Context, ROUTES, Setting, Shown};
use db_pool_exporter::metrics::{Kind, Page, Reading};
use db_pool_exporter::probe::{Probing, Roster};
use db_pool_exporter::web::{
    Address, HttpInstruments, HttpLimits, Inherited, Listen, Listener, READINGS, ServerSettings,
    Service, StartError, bind, serve,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::{self, Answer};

pub(crate) const FAMILIES: &[Reading<u32>] = &[
    Reading {
        name: "made_up_total",
        help: "Made up.",
        kind: Kind::Counter,
        labels: &["name"],
        read: |n, out| (0..*n).for_each(|i| out.push([i.to_string().as_str()], i)),
    },
    Reading {
        name: "gauged",
        help: "A gauge.",
        kind: Kind::Gauge,
        labels: &[],
        read: |n, out| out.push([], *n),
    },
];

/// A temporary folder, removed when dropped.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) reload:
        tokio::sync::mpsc::Receiver<tokio::sync::oneshot::Sender<Result<(), String>>>,
    pub(crate) ready: Arc<std::sync::atomic::AtomicBool>,
    pub(crate) targets: Arc<Roster>,
    pub(crate) configuration: Arc<ArcSwap<Vec<Setting>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn settings() -> ServerSettings {
    let listen = vec![Listen::Tcp { host: Some("127.0.0.1".to_owned()), port: 0 }];
    ServerSettings { listen, ..ServerSettings::default() }
}

pub(crate) fn short(limits: HttpLimits) -> ServerSettings {
    ServerSettings { limits, ..settings() }
}

pub(crate) fn start(settings: ServerSettings) -> Server {
    try_start(settings).unwrap()
}

/// A server whose targets have the snapshots that a test publishes, and no others.
pub(crate) fn start_unprobed(settings: ServerSettings) -> Server {
    let listeners = bind(&settings, Inherited::empty()).unwrap();
    start_on(settings, listeners, Probing::ByCaller).unwrap()
}

pub(crate) fn try_start(settings: ServerSettings) -> Result<Server, StartError> {
    let listeners = bind(&settings, Inherited::empty()).unwrap();
    start_on(settings, listeners, Probing::On)
}

fn start_on(
    settings: ServerSettings,
    listeners: Vec<Listener>,
    probing: Probing,
) -> Result<Server, StartError> {
    let (send, reload) = tokio::sync::mpsc::channel(1);
    let ready = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (instruments, is_ready) = (Arc::new(HttpInstruments::new(ROUTES)), Arc::clone(&ready));
    let shown = Arc::clone(&instruments);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let targets = Arc::new(Roster::new(tasks.clone(), stop.clone(), probing));
    let configuration = Arc::new(ArcSwap::default());
    let context = Context {
        settings: settings.clone(),
        exposition: Arc::new(move |_: &Shown, page: &mut Page<'_>| {
            page.live(FAMILIES, [("", &100)]);
            page.live(READINGS, [("", &*shown)]);
        }),
        ready: Arc::new(move || is_ready.load(Ordering::Relaxed)),
        targets: Arc::clone(&targets),
        configuration: Arc::clone(&configuration),
        probes: None,
        reload: Some(send),
    };
    let address = match listeners[0].address() {
        Address::Tcp(address) => *address,
        Address::Unix(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
    };
    let service = Service::new(settings, ROUTES, context, instruments)?;
    tasks.spawn(serve(listeners, service, stop.clone(), tasks.clone()));
    Ok(Server { address, stop, tasks, reload, ready, targets, configuration })
}

impl Server {
    /// Sends a request with these header lines, besides Host and Connection.
    pub(crate) async fn ask(&self, method: &str, target: &str, headers: &[&str]) -> Answer {
        let (address, method, target) = (self.address, method.to_owned(), target.to_owned());
        let headers: Vec<String> = headers.iter().map(|line| (*line).to_owned()).collect();
        let ask = move || {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            http::request(address, &method, &target, &headers)
        };
        spawn_blocking(ask).await.unwrap()
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[]).await
    }

    /// Sends a text unchanged and reads the answer until the connection ends.
    pub(crate) async fn send(&self, text: &str) -> Answer {
        let (address, text) = (self.address, text.to_owned());
        spawn_blocking(move || http::send(address, &text)).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Runs curl; `{}` in an argument is replaced by host and port.
    pub(crate) async fn curl(&self, arguments: &[&str]) -> Curl {
        let here = format!("localhost:{}", self.address.port());
        let arguments = arguments.iter().map(|text| text.replace("{}", &here));
        curl(arguments).await
    }
}

/// The result of curl: exit code, HTTP status and output.
pub(crate) struct Curl {
    pub(crate) exit: i32,
    pub(crate) status: String,
    pub(crate) output: String,
}

pub(crate) async fn curl(arguments: impl IntoIterator<Item = String>) -> Curl {
    let done = Command::new("curl")
        .args(["-s", "-i", "--max-time", "10", "-w", "\n%{http_code} %{http_version}"])
        .args(arguments)
        .output()
        .await
        .unwrap();
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    let status = output.lines().last().unwrap_or("").to_owned();
    Curl { exit: done.status.code().unwrap(), status, output }
}

/// Reads to the end; a reset counts as an end.
pub(crate) async fn read_all(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(Ok(n @ 1..)) =
        tokio::time::timeout(Duration::from_secs(20), stream.read(&mut piece)).await
    {
        all.extend_from_slice(&piece[..n]);
    }
    all
}

pub(crate) async fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let done = Command::new(program).args(arguments).current_dir(folder).output().await.unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
