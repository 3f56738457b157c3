//! `zynk register`, `link`, `unlink`, `rotate-key`, `recover`: identities and devices of one's own.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use ::client::{LinkCode, RecoveryKit};
use clap::Args;
use identity::Did;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Device, GATEWAY, NewDevice, with};
use crate::cli::Basis;
use crate::failure::Failure;
use crate::report::{Report, say};

/// How long a new device waits to be let in.
const LINKING: Duration = Duration::from_secs(10 * 60);

/// How large a file with a recovery kit may be, in bytes.
const MAX_KIT: u64 = 4096;

#[derive(Debug, Args)]
#[command(after_help = "Example, against a network started with `zynk devnet`:\n  \
    zynk register --genesis .zynk/devnet/genesis.json --folder alice\n\n\
    The relay pays for the identity. The 24 words are shown once: write them down, they are the way back.")]
pub(crate) struct Register {
    #[command(flatten)]
    device: NewDevice,
    /// An invitation, where the relay wants one
    #[arg(long, value_name = "CODE")]
    invitation: Option<String>,
    /// Write the identifier and the 24 words to this file (mode 0600) instead of showing the words
    #[arg(long, value_name = "FILE")]
    kit_out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk link --did did:zynk:… --folder tablet     # on the new device: shows a code and waits\n  \
    zynk link CODE --folder alice                  # on a device that holds the control key")]
pub(crate) struct Link {
    /// On a device of the identity: let the device in that shows this code
    #[arg(value_name = "CODE", required_unless_present = "did")]
    code: Option<LinkCode>,
    /// On a new device: the identity that it is to join
    #[arg(long, value_name = "DID", conflicts_with = "code")]
    did: Option<Did>,
    #[command(flatten)]
    device: Device,
    /// The gateway of the relay, for a new device
    #[arg(long, env = "ZYNK_GATEWAY", value_name = "URL", default_value = GATEWAY)]
    gateway: String,
    /// The genesis of the chain, for a new device
    #[arg(long, env = "ZYNK_GENESIS", value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// A checkpoint to trust instead of the genesis, for a new device
    #[arg(long, value_name = "FILE", conflicts_with = "genesis")]
    checkpoint: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zynk unlink 2 --folder alice")]
pub(crate) struct Unlink {
    /// The id of the device that is to go; `zynk did resolve` lists them
    #[arg(value_name = "DEVICE")]
    id: u16,
    #[command(flatten)]
    device: Device,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zynk rotate-key --folder alice\n\n\
    On the device that holds the control key, while it is not listening. The old key signs for the new one, so contacts see\n\
    that it is still you. Messages that wait at the relay are fetched first. If it breaks off, give it again.")]
pub(crate) struct RotateKey {
    /// How long to wait for the chain and the relay, in seconds; then `zynk listen` does the rest
    #[arg(long, value_name = "S", default_value_t = 60)]
    wait: u64,
    #[command(flatten)]
    device: Device,
}

#[derive(Debug, Args)]
#[command(after_help = "Example, on a new machine:\n  \
    zynk recover --kit words.txt --genesis genesis.json --folder alice\n\n\
    Takes the identity back with its 24 words: the committed control key takes over, this device joins, and every other\n\
    device is removed, but those that --keep names.")]
pub(crate) struct Recover {
    /// The identity; not needed with a file that `zynk register --kit-out` wrote
    #[arg(value_name = "DID", required_unless_present = "kit")]
    did: Option<Did>,
    /// A file with the 24 words, the identifier before them or not; else the words are asked for
    #[arg(long, value_name = "FILE")]
    kit: Option<PathBuf>,
    /// A device that is not removed; may be given several times
    #[arg(long, value_name = "DEVICE")]
    keep: Vec<u16>,
    #[command(flatten)]
    device: NewDevice,
}

pub(crate) async fn register(arguments: Register) -> Result<Report, Failure> {
    with(arguments.device.open().await?, async |client| {
        let registered = client.register(arguments.invitation).await?;
        let words = registered.kit.words().join(" ");
        let place = match &arguments.kit_out {
            Some(path) => {
                let kit = format!("{}\n{words}\n", registered.did);
                ::genesis::file::create_secret(path, kit.as_bytes()).map_err(Failure::file(path))?;
                format!("the recovery kit is in {}", path.display())
            }
            None => format!(
                "write it down with these 24 words: they are the only way back and are not shown again:\n{}",
                columns(&registered.kit)
            ),
        };
        client.forget_kit().await?;
        let shown = arguments.kit_out.is_none().then_some(words);
        let folder = arguments.device.device.folder();
        Ok(Report::new(
            format!("registered {}; {place}", registered.did),
            json!({"did": registered.did, "device": 1, "folder": folder, "kit": shown, "kit_file": arguments.kit_out}),
        ))
    })
    .await
}

pub(crate) async fn link(arguments: Link, json: bool) -> Result<Report, Failure> {
    let Some(did) = arguments.did else { return let_in(&arguments).await };
    let basis = Basis { genesis: arguments.genesis, checkpoint: arguments.checkpoint };
    if basis.genesis.is_none() && basis.checkpoint.is_none() {
        return Err(Failure::NoBasis);
    }
    let new = NewDevice { device: arguments.device, gateway: arguments.gateway, basis };
    with(new.open().await?, async |client| {
        let code = client.link_request(&did).await?;
        say(json, &format!("on a device of {did}, give within ten minutes:\n  zynk link {code}"), &json!({"code": code.to_string()}));
        let device = client.link_finish(LINKING).await?;
        Ok(Report::new(format!("this is device {device} of {did}"), json!({"did": did, "device": device})))
    })
    .await
}

/// On a device of the identity: lets another in.
async fn let_in(arguments: &Link) -> Result<Report, Failure> {
    let code = arguments.code.as_ref().expect("clap requires a code where there is no identity");
    with(arguments.device.open().await?, async |client| {
        let device = client.link_accept(code).await?;
        Ok(Report::new(format!("device {device} has joined this identity"), json!({"device": device})))
    })
    .await
}

pub(crate) async fn unlink(arguments: Unlink) -> Result<Report, Failure> {
    let id = arguments.id;
    with(arguments.device.open().await?, async |client| {
        client.unlink(id).await?;
        Ok(Report::new(format!("device {id} has left this identity, and its sessions end"), json!({"device": id})))
    })
    .await
}

pub(crate) async fn rotate_key(arguments: RotateKey) -> Result<Report, Failure> {
    with(arguments.device.open().await?, async |client| {
        let key = client.rotate_key(Duration::from_secs(arguments.wait)).await?;
        let own = client.address().await?;
        Ok(Report::new(
            format!("device {} has a new Signal key, and its old one signed for it: {key}", own.device),
            json!({"did": own.did, "device": own.device, "signal_key": key}),
        ))
    })
    .await
}

pub(crate) async fn recover(arguments: Recover) -> Result<Report, Failure> {
    let text = Zeroizing::new(match &arguments.kit {
        Some(path) => {
            let bytes = ::genesis::file::read_secret(path, MAX_KIT).map_err(Failure::file(path))?;
            String::from_utf8(bytes).map_err(|_| Failure::NotText(path.clone()))?
        }
        None => rpassword::prompt_password("the 24 words: ").map_err(Failure::NoPassphrase)?,
    });
    let (named, words) = match text.trim().split_once(char::is_whitespace) {
        Some((first, words)) if first.starts_with(identity::did::PREFIX) => {
            (Some(first.parse().map_err(|source| Failure::Argument { what: "the identifier before the words", source })?), words)
        }
        _ => (None, text.trim()),
    };
    let kit = RecoveryKit::parse(words.trim()).map_err(::client::Error::from)?;
    let did = arguments.did.or(named).ok_or(Failure::Unnamed)?;
    with(arguments.device.open().await?, async |client| {
        let recovered = client.recover(&did, &kit, &arguments.keep).await?;
        Ok(Report::new(
            format!(
                "{} is yours again; this is its device {}, {} others were removed",
                recovered.did,
                recovered.device,
                recovered.removed.len()
            ),
            json!({"did": recovered.did, "device": recovered.device, "removed": recovered.removed}),
        ))
    })
    .await
}

/// The words in six rows of four, numbered.
fn columns(kit: &RecoveryKit) -> String {
    let mut rows = String::new();
    for (row, words) in kit.words().chunks(4).enumerate() {
        for (column, word) in words.iter().enumerate() {
            let _ = write!(rows, "  {:>2}. {word:<10}", row * 4 + column + 1);
        }
        rows.push('\n');
    }
    rows
}
