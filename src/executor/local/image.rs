//! Images of podman and docker: the system that builds see in place of this machine's.
//!
//! The engine fetches an image and packs it out once; it runs nothing. So a build in an image is confined, limited and
//! stopped by bubblewrap like every other one, and whoever builds needs no right to talk to the engine while it does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::builder::workspace::{make_enterable, remove_all};
use crate::sys::fs::FsError;
use crate::sys::process::{Output, ProcessError, Program};
use crate::sys::sandbox::System;

use super::kept::blocking;
use super::probe::missing_inside;

/// How long an engine may take to answer a question.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long it may take to fetch an image, or to pack one out.
const LONG_PATIENCE: Duration = Duration::from_hours(1);
/// What engines run by other users than root need to be found, and docker on another machine.
const VARIABLES: [&str; 7] = [
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
];
/// What is no part of a system at rest.
const LEFT_OUT: [&str; 4] = ["dev/*", "proc/*", "sys/*", "run/*"];

/// Which image builds see, and who knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// The program of the engine: podman, docker, or what takes their arguments.
    pub engine: String,
    /// The name of the image, as the engine takes it.
    pub name: String,
    /// Where images are kept unpacked.
    pub dir: PathBuf,
}

impl ImageConfig {
    /// Whether the engine has the image now. It is not fetched.
    ///
    /// # Errors
    /// [`ImageError`] if the engine cannot be asked.
    pub async fn is_there(&self) -> Result<bool, ImageError> {
        if self.look().await?.status.success() {
            return Ok(true);
        }
        // docker ends in the same way without the image and without its daemon.
        let version = self.engine(&["version"]).timeout(PATIENCE).run().await?;
        self.succeeded("tell of", version).map(|_| false)
    }

    async fn look(&self) -> Result<Output, ProcessError> {
        self.engine(&["image", "inspect", "--format", "{{.Id}}", &self.name]).timeout(PATIENCE).run().await
    }

    fn engine(&self, arguments: &[&str]) -> Program {
        let program = Program::new(&self.engine).args(arguments);
        VARIABLES.iter().fold(program, |program, variable| program.inherit(variable))
    }

    fn succeeded(&self, what: &'static str, output: Output) -> Result<String, ImageError> {
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        // Warnings come first, and what went wrong last.
        let said = output.stderr_text();
        Err(self.refused(what, said.lines().last().unwrap_or("it does not say why").to_owned()))
    }

    fn refused(&self, what: &'static str, said: String) -> ImageError {
        ImageError::Refused { engine: self.engine.clone(), what, image: self.name.clone(), said }
    }
}

/// An image that builds cannot be done in.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The engine cannot be run.
    #[error(transparent)]
    Engine(#[from] ProcessError),
    /// It does not do what it is asked.
    #[error("{engine} cannot {what} {image}: {said}")]
    Refused {
        /// The engine.
        engine: String,
        /// What it was asked.
        what: &'static str,
        /// The image.
        image: String,
        /// What it says.
        said: String,
    },
    /// It is not what a build needs.
    #[error("the image {image} cannot be built in: {reason}")]
    Unfit {
        /// The image.
        image: String,
        /// Why not.
        reason: String,
    },
    /// It cannot be kept.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// An image as it is unpacked. It stays for as long as somebody builds in it.
#[derive(Debug)]
pub struct Image {
    /// What the engine knows its content by, in hexadecimal digits.
    pub id: String,
    /// Its files.
    pub root: PathBuf,
}

impl Image {
    /// The system that it is.
    #[must_use]
    pub fn system(&self) -> System {
        System::at(self.root.clone())
    }

    /// pacman's database of what is installed in it.
    #[must_use]
    pub fn installed(&self) -> PathBuf {
        self.root.join("var/lib/pacman/local")
    }

    /// pacman's keyring in it, if it has one, and in itself: no link of an image leads to files of this machine.
    #[must_use]
    pub fn keyring(&self) -> Option<PathBuf> {
        let keyring = super::keyring_in(&self.root)?.canonicalize().ok()?;
        keyring.starts_with(self.root.canonicalize().ok()?).then_some(keyring)
    }
}

/// The images of one machine. What the engine has under the name is looked at for every build, so that one that somebody
/// fetched anew is taken by the next; it is fetched here only if it is not there at all.
#[derive(Debug)]
pub struct Images {
    config: ImageConfig,
    in_use: Mutex<BTreeMap<String, Weak<Image>>>,
}

impl Images {
    /// Looks at no image yet. What an earlier process was unpacking is removed.
    ///
    /// # Errors
    /// [`FsError`] if the directory cannot be made or cleaned.
    pub fn open(config: ImageConfig) -> Result<Self, FsError> {
        let dir = &config.dir;
        make_enterable(dir).map_err(|error| FsError::new("create", dir, error))?;
        remove_others(dir, |name| !name.starts_with('.'))?;
        Ok(Self { config, in_use: Mutex::default() })
    }

    /// What it is set to.
    #[must_use]
    pub const fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The image as it is now, fetched and unpacked if it has to be.
    ///
    /// # Errors
    /// [`ImageError`] if there is none that builds can be done in.
    pub async fn current(&self) -> Result<Arc<Image>, ImageError> {
        let mut in_use = self.in_use.lock().await;
        let id = self.identify().await?;
        if let Some(image) = in_use.get(&id).and_then(Weak::upgrade) {
            return Ok(image);
        }
        let image = Arc::new(Image { root: self.config.dir.join(&id), id });
        if !image.root.is_dir() {
            self.unpack(&image).await?;
        }
        in_use.retain(|_, image| image.strong_count() > 0);
        in_use.insert(image.id.clone(), Arc::downgrade(&image));
        let (dir, wanted): (_, Vec<String>) = (self.config.dir.clone(), in_use.keys().cloned().collect());
        blocking(move || remove_others(&dir, |name| wanted.iter().any(|wanted| wanted == name))).await?;
        Ok(image)
    }

    async fn identify(&self) -> Result<String, ImageError> {
        let mut known = self.config.look().await?;
        if !known.status.success() {
            let fetch = self.config.engine(&["pull", "--quiet", &self.config.name]);
            self.done("fetch", fetch.timeout(LONG_PATIENCE)).await?;
            known = self.config.look().await?;
        }
        let said = self.config.succeeded("tell of", known)?;
        let id = said.trim().trim_start_matches("sha256:");
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let wrong = || self.config.refused("tell of", format!("`{said}` is no id of an image"));
        if is_id { Ok(id.to_owned()) } else { Err(wrong()) }
    }

    /// Packs out what the engine has, beside where it will be, and puts it there when it is whole.
    async fn unpack(&self, image: &Image) -> Result<(), ImageError> {
        let half = self.config.dir.join(format!(".{}", image.id));
        let (packed, files) = (half.join("packed.tar"), half.join("files"));
        let failed = |action| move |error| FsError::new(action, &self.config.dir, error);
        remove_all(&half).map_err(failed("clean"))?;
        fs::create_dir_all(&files).map_err(failed("create a folder in"))?;
        make_passable(&files).map_err(failed("open"))?;
        self.export(&image.id, &packed).await?;
        let mut extract = Program::new("bsdtar").args(["-x", "--no-same-owner", "--no-same-permissions"]);
        // Nothing of an image gives anybody rights on this machine.
        extract = extract.args(["--no-xattrs", "--no-acls", "--no-fflags"]);
        extract = extract.args(LEFT_OUT.iter().flat_map(|pattern| ["--exclude", pattern]));
        let extract = extract.arg("-C").arg(&files).arg("-f").arg(&packed).timeout(LONG_PATIENCE);
        self.done("unpack", extract).await?;
        self.check(&files)?;
        fs::rename(&files, &image.root).map_err(failed("put an image into"))?;
        Ok(blocking(move || remove_all(&half).map_err(|error| FsError::new("clean", &half, error))).await?)
    }

    /// The files of an image, in one: only a container that was made from it has them, though it never runs.
    async fn export(&self, id: &str, to: &Path) -> Result<(), ImageError> {
        let place = Sha256::digest(self.config.dir.as_os_str().as_encoded_bytes());
        let place = place.iter().take(6).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let container = format!("pkgwarden-{}-{place}", &id[..12]);
        // Engines make a volume for each that the image declares, and keep it unless they are told otherwise.
        let remove = || self.config.engine(&["rm", "--force", "--volumes", &container]).timeout(PATIENCE);
        // One that an earlier process left behind; if there is none, engines differ in whether that is an error.
        remove().run().await?;
        self.done(
            "make a container of",
            self.config.engine(&["create", "--name", &container, id, "true"]).timeout(PATIENCE),
        )
        .await?;
        let export = self.config.engine(&["export", "--output"]).arg(to).arg(&container).timeout(LONG_PATIENCE);
        let exported = self.done("pack out", export).await;
        self.done("remove the container of", remove()).await?;
        exported
    }

    /// Whether builds can be done with these files, and see nothing of this machine through them.
    fn check(&self, files: &Path) -> Result<(), ImageError> {
        let unfit = |reason: String| Err(ImageError::Unfit { image: self.config.name.clone(), reason });
        for path in System::paths() {
            let is_link =
                fs::symlink_metadata(files.join(path.trim_start_matches('/'))).is_ok_and(|it| it.is_symlink());
            if is_link {
                return unfit(format!("its {path} is a link"));
            }
        }
        let missing = missing_inside(files);
        if missing.is_empty() {
            return Ok(());
        }
        unfit(format!("it has no {}; an image with `base-devel` of Arch Linux has", missing.join(", ")))
    }

    async fn done(&self, what: &'static str, program: Program) -> Result<(), ImageError> {
        self.config.succeeded(what, program.run().await?).map(drop)
    }
}

/// Lets anybody see what is in it, whatever the umask.
fn make_passable(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
}

fn remove_others(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), FsError> {
    let failed = |error| FsError::new("clean", dir, error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_str().is_some_and(&wanted) {
            remove_all(&entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}
