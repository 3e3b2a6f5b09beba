//! Where the examples are.

use std::path::{Path, PathBuf};

use pkgwarden::sys::env;
use serde::Deserialize;
use serde_json::Value;

/// The variable that names the folder of the npm package, where it is somewhere else.
const VARIABLE: &str = "PKGWARDEN_TEST_WEBHOOKS_EXAMPLES";

/// One delivery that a forge gives as an example.
pub struct Example {
    /// The server it is of.
    pub server: String,
    /// What the forge calls the event.
    pub event: String,
    /// What is delivered.
    pub payload: Value,
}

/// Every example of GitHub, of its public service and of its servers.
pub fn github() -> Vec<Example> {
    #[derive(Deserialize)]
    struct Described {
        name: String,
        examples: Vec<Value>,
    }
    let mut examples = Vec::new();
    for folder in package().read_dir().expect("listed").map(|entry| entry.expect("read").path()) {
        let Ok(text) = std::fs::read(folder.join("index.json")) else { continue };
        let server = folder.file_name().expect("named").to_string_lossy().into_owned();
        for Described { name, examples: payloads } in serde_json::from_slice::<Vec<_>>(&text).expect("as described") {
            examples.extend(payloads.into_iter().map(|payload| Example {
                server: server.clone(),
                event: name.clone(),
                payload,
            }));
        }
    }
    examples
}

/// Those that are written out in `fixtures/webhooks`.
pub fn written_out(forge: &str) -> Vec<Example> {
    #[derive(Deserialize)]
    struct Written {
        event: String,
        section: String,
        payload: Value,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/webhooks").join(format!("{forge}.json"));
    let text = std::fs::read(path).expect("readable");
    let written: Vec<Written> = serde_json::from_slice(&text).expect("as described");
    let example = |Written { event, section, payload }| Example { server: section, event, payload };
    written.into_iter().map(example).collect()
}

/// The folder of the npm package: the one that the variable names, or the one that `.ci/setup --tests` fetched.
fn package() -> PathBuf {
    let named = env::var(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(fetched).unwrap_or_else(|| {
        panic!(
            "GitHub's examples are missing, which this test reads: `.ci/setup --tests` has npm fetch them; or name the \
             folder of @octokit/webhooks-examples in {VARIABLE}"
        )
    })
}

fn fetched() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").read_dir().ok()?;
    let folders = target.filter_map(|entry| Some(entry.ok()?.path().join("package")));
    folders.filter(|path| path.to_string_lossy().contains("/webhooks-examples-") && path.is_dir()).max()
}
