//! The process that holds the key. It signs what lies below the folders it was started for, is a package file or a
//! database, and has the checksum that was asked for; and only for the users it was started for.
//!
//! What is signed is a copy that nobody else can reach, so that nothing can change between check and signature.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::gpg::Gpg;
use super::{Answer, Request};
use crate::publish::{database, difference, pkginfo};
use crate::sys::fs::FsError;

/// Longer than any request.
const MAX_REQUEST: u64 = 16 << 10;
/// How long somebody may take to ask.
const ASKING: Duration = Duration::from_secs(10);

/// What a signer is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens.
    pub socket: PathBuf,
    /// The folders below which it signs.
    pub folders: Vec<PathBuf>,
    /// The key.
    pub gpg: Gpg,
    /// Users who may ask, by number.
    pub clients: Vec<u32>,
    /// A group that may reach the socket, by number; otherwise only our own user may.
    pub group: Option<u32>,
}

/// Why a signer does not start.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// Another one listens there.
    #[error("another signer listens at {}", .0.display())]
    Running(PathBuf),
    /// Its key cannot be used.
    #[error("{0}")]
    Key(String),
    /// There is no place for its socket.
    #[error("there is no folder {}; make it first, as one that the user of the signer may write to", .0.display())]
    NoFolder(PathBuf),
    /// Only members may give a file to a group.
    #[error(
        "the socket cannot be given to the group {group}: the user {uid}, who signs, is no member of it; \
         `usermod --append --groups {group} USER` makes it one"
    )]
    NoMember {
        /// The group.
        group: u32,
        /// The user of the signer.
        uid: u32,
    },
    /// A file, or the socket.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// A signer that listens.
#[derive(Debug)]
pub struct Signer {
    options: Arc<Options>,
    listener: UnixListener,
    public: Arc<Vec<u8>>,
}

impl Drop for Signer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.options.socket);
    }
}

impl Signer {
    /// Finds the key and begins to listen.
    ///
    /// # Errors
    /// [`SignerError`], if the key is not there or the socket is another's.
    pub async fn bind(options: Options) -> Result<Self, SignerError> {
        options.gpg.has_secret_key().await.map_err(SignerError::Key)?;
        let public = options.gpg.public_key().await.map_err(SignerError::Key)?;
        let socket = &options.socket;
        if UnixStream::connect(socket).await.is_ok() {
            return Err(SignerError::Running(socket.clone()));
        }
        let listener = bind(socket, options.group)?;
        Ok(Self { options: Arc::new(options), listener, public: Arc::new(public) })
    }

    /// Answers whoever asks, until `stop`.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (options, public) = (self.options.clone(), self.public.clone());
                    tokio::spawn(async move { attend(stream, &options, &public).await });
                }
                Err(error) => {
                    tracing::error!(error = error.to_string(), "nobody can ask for a signature now");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

/// Binds where nobody else can look, closes the socket to others, and only then moves it into place.
fn bind(path: &Path, group: Option<u32>) -> Result<UnixListener, SignerError> {
    let failed = |error: io::Error| SignerError::Fs(FsError::new("listen at", path, error));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(SignerError::NoFolder(parent.to_owned()));
    }
    let private = tempfile::Builder::new().prefix(".s").rand_bytes(4).tempdir_in(parent).map_err(failed)?;
    let hidden = private.path().join("s");
    let listener = UnixListener::bind(&hidden).map_err(failed)?;
    if let Some(group) = group {
        let uid = nix::unistd::geteuid().as_raw();
        std::os::unix::fs::chown(&hidden, None, Some(group)).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => SignerError::NoMember { group, uid },
            _ => failed(error),
        })?;
    }
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    std::fs::rename(&hidden, path).map_err(failed)?;
    Ok(listener)
}

/// Answers one request.
async fn attend(mut stream: UnixStream, options: &Options, public: &[u8]) {
    let uid = stream.peer_cred().map(|peer| peer.uid());
    // It is read in any case: who is answered before the question is out sees a broken pipe and no answer.
    let request = asked(&mut stream).await;
    let answer = match uid {
        Ok(uid) if options.clients.contains(&uid) => match request {
            Ok(request) => answer(request, options, public).await,
            Err(error) => Answer::Refused { why: format!("this is no request: {error}") },
        },
        Ok(uid) => {
            tracing::warn!(uid, "somebody who may not asks for signatures");
            Answer::Unable { why: format!("the user {uid} may not ask; start the signer with --client for it") }
        }
        Err(error) => Answer::Unable { why: format!("it is not known who asks: {error}") },
    };
    let mut line = serde_json::to_vec(&answer).expect("answers are JSON");
    line.push(b'\n');
    // Who has gone needs no answer.
    let _ = stream.write_all(&line).await;
    let _ = stream.shutdown().await;
}

async fn asked(stream: &mut UnixStream) -> io::Result<Request> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(MAX_REQUEST));
    let read = tokio::time::timeout(ASKING, reader.read_until(b'\n', &mut line)).await;
    read.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it came too slowly"))??;
    Ok(serde_json::from_slice(&line)?)
}

async fn answer(request: Request, options: &Options, public: &[u8]) -> Answer {
    let (path, wanted) = match request {
        Request::Key {} => {
            return Answer::Key { fingerprint: options.gpg.key.clone(), public: BASE64.encode(public) };
        }
        Request::Sign { path, sha256 } => (path, sha256),
    };
    let (folders, home, asked) = (options.folders.clone(), options.gpg.home.clone(), path.clone());
    let copied = tokio::task::spawn_blocking(move || copy_of(&asked, &wanted, &folders, &home)).await;
    let copy = match copied {
        Ok(Ok(copy)) => copy,
        Ok(Err(answer)) => {
            tracing::warn!(file = %path.display(), ?answer, "this is not signed");
            return answer;
        }
        Err(error) => return Answer::Unable { why: error.to_string() },
    };
    match options.gpg.sign(copy).await {
        Ok(signature) => {
            tracing::info!(file = %path.display(), "signed");
            Answer::Signature { signature: BASE64.encode(signature) }
        }
        Err(why) => {
            tracing::error!(file = %path.display(), why, "this cannot be signed now");
            Answer::Unable { why }
        }
    }
}

/// A private copy of a file, with the checksum that was asked for, of a kind that is signed.
fn copy_of(path: &Path, wanted: &str, folders: &[PathBuf], work: &Path) -> Result<File, Answer> {
    let refused = |why: String| Answer::Refused { why };
    let unable = |error: io::Error| Answer::Unable { why: error.to_string() };
    let file = open_below(path, folders).map_err(|error| refused(format!("{}: {error}", path.display())))?;
    let mut copy = tempfile::tempfile_in(work).map_err(unable)?;
    let found = hashed_copy(file, &mut copy).map_err(unable)?;
    if found != wanted {
        return Err(refused(format!("its checksum is {found}, not {wanted}: it was changed")));
    }
    copy.rewind().map_err(unable)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let sound = is_signed(name, copy.try_clone().map_err(unable)?);
    sound.map_err(|problem| refused(format!("`{name}` {problem}")))?;
    copy.rewind().map_err(unable)?;
    Ok(copy)
}

/// Opens an ordinary file below one of the folders, following no link on the way from there.
fn open_below(path: &Path, folders: &[PathBuf]) -> io::Result<File> {
    let outside = || io::Error::new(io::ErrorKind::PermissionDenied, "it is in none of the folders of this signer");
    let below = |folder: &PathBuf| Some((folder.clone(), path.strip_prefix(folder).ok()?.to_owned()));
    let (folder, rest) = folders.iter().find_map(below).ok_or_else(outside)?;
    let folder: OwnedFd = open(&folder, OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = File::from(openat2(folder.as_fd(), &rest, how)?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no ordinary file")) }
}

fn hashed_copy(mut from: impl Read, to: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(difference::hexadecimal(&hash.finalize())),
            length => {
                hash.update(&buffer[..length]);
                to.write_all(&buffer[..length])?;
            }
        }
    }
}

/// Whether a file is a package or a database, by its name and by what is in it.
fn is_signed(name: &str, file: File) -> Result<(), String> {
    if name.ends_with(".db.tar.zst") || name.ends_with(".files.tar.zst") {
        return database::read_from(file, Path::new(name))
            .map(drop)
            .map_err(|error| format!("is no database: {error}"));
    }
    if !name.ends_with(".pkg.tar.zst") {
        return Err("is neither a package file nor a database".to_owned());
    }
    let info = pkginfo::extract(file).map_err(|error| format!("is no package: {error}"))?;
    let info = pkginfo::parse(&info).map_err(|problem| format!("is no package: its .PKGINFO {problem}"))?;
    let wanted = format!("{}-{}-{}.pkg.tar.zst", info.pkgname, info.pkgver, info.arch);
    if name == wanted { Ok(()) } else { Err(format!("calls itself `{}`", wanted.escape_debug())) }
}

#[cfg(test)]
mod tests;
