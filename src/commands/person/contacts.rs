//! `zynk contacts`, `verify-contact`: who somebody is.

use clap::Args;
use identity::Did;
use serde_json::json;

use super::{Device, with};
use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zynk contacts --folder alice")]
pub(crate) struct Contacts {
    #[command(flatten)]
    device: Device,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk verify-contact did:zynk:… --folder alice\n\n\
    Proves the contact's devices on chain, compares them with what the relay hands out, and shows the safety number: the\n\
    same on both sides, for life. With --compared the numbers are noted as compared; with --scanned the text of the other\n\
    side's QR code is checked first.")]
pub(crate) struct VerifyContact {
    /// Who
    #[arg(value_name = "DID")]
    did: Did,
    /// Note that both of you compared the numbers
    #[arg(long)]
    compared: bool,
    /// The text of the other side's QR code
    #[arg(long, value_name = "TEXT")]
    scanned: Option<String>,
    #[command(flatten)]
    device: Device,
}

pub(crate) async fn list(arguments: Contacts) -> Result<Report, Failure> {
    let contacts = with(arguments.device.open().await?, async |client| Ok(client.contacts().await?)).await?;
    let line = |contact: &::client::Contact| {
        let compared = if contact.compared.is_some() { ", compared" } else { "" };
        // A device joins and leaves as its person likes; another key is worth a word, and a warning even more.
        let notes = || contact.notes.iter().rev();
        let worth = notes().find(|note| note.change.is_warning()).or_else(|| notes().find(|note| note.change.rekeyed().is_some()));
        let worth = worth.map(|note| format!("  {}", super::change(&note.change))).unwrap_or_default();
        format!("{}  {} devices, proven at height {}{compared}{worth}", contact.did, contact.entry.devices.len(), contact.height)
    };
    let lines: Vec<String> = contacts.iter().map(line).collect();
    let text = if lines.is_empty() { "no contacts yet".to_owned() } else { lines.join("\n") };
    Ok(Report::new(text, json!(contacts)))
}

pub(crate) async fn verify(arguments: VerifyContact) -> Result<Report, Failure> {
    let (verified, noted) = with(arguments.device.open().await?, async |client| {
        let verified = client.verify_contact(&arguments.did).await?;
        let noted = match arguments.compared || arguments.scanned.is_some() {
            true => Some(client.mark_compared(&arguments.did, arguments.scanned.as_deref()).await?),
            false => None,
        };
        Ok((verified, noted))
    })
    .await?;
    let mut text = format!(
        "{} devices of {}, proven at height {}; the relay hands out the same keys\n\nsafety number  {}\n\n{}",
        verified.contact.entry.devices.len(),
        arguments.did,
        verified.contact.height,
        verified.safety_number,
        verified.qr
    );
    for note in &verified.contact.notes {
        text.push_str(&format!("\n{}", super::change(&note.change)));
    }
    match noted {
        Some(false) => Ok(Report::refuted("the scanned code is not this contact's: do not trust it", json!({"scanned": false}))),
        Some(true) => Ok(Report::new(format!("{text}\nnoted as compared"), json!(verified))),
        None => Ok(Report::new(text, json!(verified))),
    }
}
