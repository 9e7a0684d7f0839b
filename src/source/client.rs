//! One request for one status: bounded in time and size, and without any trust in who answers.

use std::io;
use std::pin::pin;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use strum::{IntoStaticStr, VariantArray};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::{Endpoint, WebEndpoint};
use super::material::{Material, basic};
use super::status::{PoolStatus, StatusError};
use crate::secret::Secret;

/// The largest answer, in bytes. One of 20 holders has about 4 KiB.
const LARGEST: usize = 1024 * 1024;

/// The room for the answer's header fields, in bytes.
const HEAD: usize = 32 * 1024;

/// Why a status was not read; the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum FetchReason {
    /// No connection, or it ended early.
    Connect,
    /// TLS failed, or its certificates could not be read.
    Tls,
    /// The login could not be read, or was refused.
    Login,
    /// Not done within the time limit.
    Timeout,
    /// Another status code than 200.
    Http,
    /// A redirect. It is not followed, because it could lead to a server that is not configured.
    Redirect,
    /// Larger than 1 MiB.
    TooLarge,
    /// No JSON, or not that of a pool.
    NotStatus,
    /// An impossible number.
    Nonsense,
    /// Another process answered than the rules allow: twice the same, or in turn.
    Process,
}

/// A status that was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FetchError {
    pub(super) reason: FetchReason,
    pub(super) message: String,
    /// The socket file exists but has no listener: its process has ended.
    pub(super) is_dead: bool,
}

impl FetchError {
    pub(super) fn new(reason: FetchReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), is_dead: false }
    }

    fn connect(error: &io::Error) -> Self {
        let is_dead =
            matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
        let message = format!("cannot connect: {}", error.kind());
        Self { is_dead, ..Self::new(FetchReason::Connect, message) }
    }
}

impl From<StatusError> for FetchError {
    fn from(error: StatusError) -> Self {
        let reason = match error {
            StatusError::NotJson | StatusError::NoStatus => FetchReason::NotStatus,
            StatusError::Nonsense { .. } => FetchReason::Nonsense,
        };
        Self::new(reason, error.to_string())
    }
}

/// Reads one status. The caller limits the time.
pub(super) async fn fetch(
    endpoint: &Endpoint,
    material: &Material,
) -> Result<PoolStatus, FetchError> {
    Ok(PoolStatus::parse(&get(endpoint, material, LARGEST).await?)?)
}

/// Reads one answer of at most `largest` bytes. The caller limits the time.
pub(super) async fn get(
    endpoint: &Endpoint,
    material: &Material,
    largest: usize,
) -> Result<Bytes, FetchError> {
    match endpoint {
        Endpoint::Socket(path) => {
            let stream = UnixStream::connect(path).await.map_err(|e| FetchError::connect(&e))?;
            ask(stream, request(endpoint, None)?, largest).await
        }
        Endpoint::Web(web) => {
            let login = match &web.login {
                Some(login) => Some(basic(login)),
                None => material
                    .authorization
                    .clone()
                    .map_err(|message| FetchError::new(FetchReason::Login, message))?,
            };
            let request = request(endpoint, login.as_ref())?;
            let address = (web.host.as_str(), web.port);
            let stream = TcpStream::connect(address).await.map_err(|e| FetchError::connect(&e))?;
            if web.is_tls {
                ask(encrypt(stream, web, material).await?, request, largest).await
            } else {
                ask(stream, request, largest).await
            }
        }
    }
}

async fn encrypt(
    stream: TcpStream,
    web: &WebEndpoint,
    material: &Material,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, FetchError> {
    let failed = |message: String| FetchError::new(FetchReason::Tls, message);
    let connector = material.tls.clone().map_err(failed)?;
    let name = ServerName::try_from(web.host.clone());
    let name = name.map_err(|_| failed("the host is no name for TLS".to_owned()))?;
    connector.connect(name, stream).await.map_err(|error| failed(format!("TLS failed: {error}")))
}

fn request(
    endpoint: &Endpoint,
    authorization: Option<&Secret>,
) -> Result<Request<Empty<Bytes>>, FetchError> {
    let mut request = Request::get(endpoint.path())
        .header(HOST, endpoint.host())
        .header(USER_AGENT, "db_pool_exporter")
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close");
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::from_str(authorization.reveal()).map_err(|_| {
            FetchError::new(FetchReason::Login, "the login has characters that no header can have")
        })?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let built = request.body(Empty::new());
    built.map_err(|_| FetchError::new(FetchReason::Connect, "the URL cannot be asked for"))
}

/// Sends the request and returns the answer's body.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Empty<Bytes>>,
    largest: usize,
) -> Result<Bytes, FetchError> {
    let handshake = http1::Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
    let mut answer = pin!(async move {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        body(response, largest).await
    });
    // The connection does nothing unless it is polled. It can end before the answer is taken from it.
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

async fn body(response: Response<Incoming>, largest: usize) -> Result<Bytes, FetchError> {
    let status = response.status();
    if status.is_redirection() {
        let message = format!("redirected ({}); redirects are not followed", status.as_u16());
        return Err(FetchError::new(FetchReason::Redirect, message));
    }
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        let message = format!("the login was refused ({})", status.as_u16());
        return Err(FetchError::new(FetchReason::Login, message));
    }
    if status != StatusCode::OK {
        let message = format!("answered {}", status.as_u16());
        return Err(FetchError::new(FetchReason::Http, message));
    }
    match Limited::new(response.into_body(), largest).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("the answer is larger than {} MiB", largest / (1024 * 1024));
            Err(FetchError::new(FetchReason::TooLarge, message))
        }
        Err(_) => Err(FetchError::new(FetchReason::Connect, "the answer ended early")),
    }
}

fn broken(error: &hyper::Error) -> FetchError {
    let message = if error.is_parse() || error.is_parse_too_large() {
        "the answer is no HTTP"
    } else {
        "the connection ended before an answer"
    };
    FetchError::new(FetchReason::Connect, message)
}
