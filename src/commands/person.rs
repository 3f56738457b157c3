//! What a person's device does: one file for each kind of command, and what all of them need.

pub(crate) mod account;
pub(crate) mod contacts;
pub(crate) mod messages;
pub(crate) mod proofs;

use std::path::{Path, PathBuf};

use ::client::contact::Change;
use ::client::{Client, Passphrase, Settings};
use ::mailbox::Encoding;
use clap::Args;
use zeroize::Zeroizing;

use crate::cli::Basis;
use crate::failure::Failure;

/// How large a passphrase's file may be, in bytes.
const MAX_PASSPHRASE: u64 = 4096;

/// Where `zynk devnet` puts its gateway.
pub(crate) const GATEWAY: &str = "http://127.0.0.1:26669";

/// Where the device keeps its keys and messages, and what opens them.
#[derive(Debug, Args)]
pub(crate) struct Device {
    /// The folder of this device: keys and messages, encrypted
    #[arg(long, env = "ZYNK_CLIENT", value_name = "FOLDER", default_value = ".zynk/client")]
    folder: PathBuf,

    /// A file whose first line is the passphrase; else ZYNK_PASSPHRASE, else it is asked for
    #[arg(long, env = "ZYNK_PASSPHRASE_FILE", value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// A device that does not exist yet: where it will find its relay, and what it trusts.
#[derive(Debug, Args)]
pub(crate) struct NewDevice {
    #[command(flatten)]
    pub(crate) device: Device,

    /// The gateway of the relay
    #[arg(long, env = "ZYNK_GATEWAY", value_name = "URL", default_value = GATEWAY)]
    pub(crate) gateway: String,

    #[command(flatten)]
    pub(crate) basis: Basis,
}

impl Device {
    /// Opens the device.
    pub(crate) async fn open(&self) -> Result<Client, Failure> {
        Ok(Client::open(&self.folder, &self.passphrase(false)?).await?)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The passphrase out of the file, the environment, or a person's head; a new one is asked for twice.
    fn passphrase(&self, new: bool) -> Result<Passphrase, Failure> {
        let text = match (&self.passphrase_file, std::env::var("ZYNK_PASSPHRASE")) {
            (Some(path), _) => {
                let bytes = Zeroizing::new(::genesis::file::read_secret(path, MAX_PASSPHRASE).map_err(Failure::file(path))?);
                let text = std::str::from_utf8(&bytes).map_err(|_| Failure::NotText(path.clone()))?;
                Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
            }
            (None, Ok(text)) => Zeroizing::new(text),
            (None, Err(_)) => ask(new)?,
        };
        Ok(Passphrase::new(text.as_str())?)
    }
}

impl NewDevice {
    /// The device in its folder, made if there is none: a command that broke off is given again.
    pub(crate) async fn open(&self) -> Result<Client, Failure> {
        if ::client::store::exists(&self.device.folder) {
            return self.device.open().await;
        }
        let settings = Settings { gateway: self.gateway.clone(), trust: self.basis.trust()?, encoding: Encoding::Cbor };
        Ok(Client::create(&self.device.folder, &self.device.passphrase(true)?, settings).await?)
    }
}

/// Does something with a device and closes its store, whatever came of it: a store that is open while the process
/// ends may be written to by a thread that has lost its ground.
pub(crate) async fn with<T>(client: Client, act: impl AsyncFnOnce(&Client) -> Result<T, Failure>) -> Result<T, Failure> {
    let done = act(&client).await;
    client.close().await;
    done
}

/// A change of a contact as a line: `!` for what a person should be warned of.
fn change(change: &Change) -> String {
    format!("{} {change}", if change.is_warning() { '!' } else { '*' })
}

fn ask(new: bool) -> Result<Zeroizing<String>, Failure> {
    let prompt = |words: &str| rpassword::prompt_password(words).map(Zeroizing::new).map_err(Failure::NoPassphrase);
    let text = prompt("passphrase of this device: ")?;
    if new && prompt("once more: ")? != text {
        return Err(Failure::TwoPassphrases);
    }
    Ok(text)
}
