//! `zynk send`, `listen`, `history`: messages.

use std::io::Read as _;
use std::time::Duration;

use ::client::contact::Note;
use ::client::history::State;
use ::client::{Event, Message};
use ::mailbox::frame::Kind;
use clap::Args;
use identity::Did;
use serde_json::json;
use types::Millis;

use super::{Device, with};
use crate::commands::node::until_told;
use crate::failure::Failure;
use crate::report::{Report, say};

/// How often it is looked whether the outbox is empty.
const LOOK: Duration = Duration::from_millis(50);

/// The longest text, in bytes, that is read from standard input.
const MAX_TEXT: u64 = 64 << 10;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk send did:zynk:… 'see you at six' --folder alice\n\n\
    The contact's keys are proven on chain before the first message. One tick (✓) means: on the relay's disk.")]
pub(crate) struct Send {
    /// To whom
    #[arg(value_name = "DID")]
    to: Did,
    /// What; - reads standard input
    #[arg(value_name = "TEXT")]
    text: String,
    /// How long to wait for the relay, in seconds; then the message waits in the outbox
    #[arg(long, value_name = "S", default_value_t = 30)]
    wait: u64,
    #[command(flatten)]
    device: Device,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    zynk listen --folder bob\n\n\
    Prints what comes until Ctrl-C, sends what waits, and tells senders that their messages were delivered.")]
pub(crate) struct Listen {
    /// Stop after so many messages came
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Stop once the mailbox is empty and nothing waits in the outbox
    #[arg(long)]
    until_empty: bool,
    /// Stop after so many seconds
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    #[command(flatten)]
    device: Device,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zynk history did:zynk:… --folder bob --read")]
pub(crate) struct History {
    /// Only what was written with this identity
    #[arg(value_name = "DID")]
    with: Option<Did>,
    /// How many, the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Tell the sender that these were read
    #[arg(long, requires = "with")]
    read: bool,
    #[command(flatten)]
    device: Device,
}

pub(crate) async fn send(arguments: Send) -> Result<Report, Failure> {
    let text = if arguments.text == "-" { read_text()? } else { arguments.text };
    let (id, message) = with(arguments.device.open().await?, async |client| {
        let id = client.send(&arguments.to, &text).await?;
        match client.settle(&id, Duration::from_secs(arguments.wait)).await {
            // It is stored, and leaves with the next session.
            Err(::client::Error::Timeout { .. }) => Ok((id, client.message(&id).await?)),
            settled => Ok((id, settled?)),
        }
    })
    .await?;
    let value = json!(&message);
    match (message.state, message.code) {
        (State::Accepted, _) => Ok(Report::new(format!("✓ {id}"), value)),
        (_, Some(code)) => Err(Failure::NotSent { code, reason: message.reason.unwrap_or_default() }),
        _ => Ok(Report::new(format!("· {id} waits in the outbox: `zynk listen` sends it once the relay is there"), value)),
    }
}

pub(crate) async fn listen(arguments: Listen, json: bool) -> Result<Report, Failure> {
    let messages = with(arguments.device.open().await?, async |client| hear(client, &arguments, json).await).await?;
    Ok(Report::new(format!("{messages} messages came"), json!({"messages": messages})))
}

/// Stays connected as long as it is wanted; how many messages came.
async fn hear(client: &::client::Client, arguments: &Listen, json: bool) -> Result<usize, Failure> {
    let mut connection = client.listen().await?;
    let told = until_told(false);
    tokio::pin!(told);
    let late = async {
        match arguments.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(late);
    let mut messages = 0;
    let mut caught_up = false;
    loop {
        let enough = arguments.count.is_some_and(|count| messages >= count) || (arguments.until_empty && caught_up);
        let event = tokio::select! {
            event = connection.next() => event,
            // Receipts leave without an event of their own, so the outbox is looked at now and then.
            () = tokio::time::sleep(LOOK), if enough => {
                if client.waiting().await? == 0 { break }
                continue;
            }
            () = &mut told => break,
            () = &mut late => break,
        };
        let Some(event) = event else { break };
        caught_up |= event == Event::CaughtUp;
        if let Event::Message { message } = &event
            && !message.outgoing
        {
            messages += 1;
        }
        if let Some(line) = words(&event) {
            say(json, &line, &json!(&event));
        }
    }
    connection.stop().await;
    Ok(messages)
}

pub(crate) async fn history(arguments: History) -> Result<Report, Failure> {
    let (messages, notes) = with(arguments.device.open().await?, async |client| {
        let messages = client.history(arguments.with.as_ref(), arguments.limit).await?;
        let notes = match &arguments.with {
            Some(with) => client.notes(with).await?,
            None => Vec::new(),
        };
        if let (true, Some(with)) = (arguments.read, &arguments.with) {
            client.mark_read(with).await?;
            if client.waiting().await? > 0 {
                flush(client).await?;
            }
        }
        Ok((messages, notes))
    })
    .await?;
    // What changed of the other side stands where this device saw it; before the first message shown it is left out.
    let since = messages.first().map_or(Millis(0), |message| message.stored);
    let mut notes = notes.iter().filter(|note| note.seen >= since).peekable();
    let mut lines = Vec::new();
    for message in &messages {
        while let Some(note) = notes.next_if(|note| note.seen < message.stored) {
            lines.push(noted(note));
        }
        lines.push(line(message));
    }
    lines.extend(notes.map(noted));
    let text = if lines.is_empty() { "no messages".to_owned() } else { lines.join("\n") };
    Ok(Report::new(text, json!(messages)))
}

/// Sends what waits, for a few seconds; what does not leave waits on.
async fn flush(client: &::client::Client) -> Result<(), Failure> {
    let connection = match client.listen().await {
        Err(::client::Error::Busy(_)) => return Ok(()),
        connection => connection?,
    };
    for _ in 0..100 {
        if client.waiting().await? == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    connection.stop().await;
    Ok(())
}

/// A message as a line: when, who, ticks, what.
fn line(message: &Message) -> String {
    let sign = match message.state {
        State::Queued => "· ",
        State::Refused => "✗ ",
        State::Unreadable => "! ",
        State::Received => "← ",
        State::Accepted if message.has_receipt(Kind::Read) => "✓✓ read ",
        State::Accepted if message.has_receipt(Kind::Delivered) => "✓✓ ",
        State::Accepted => "✓ ",
    };
    let flaw = match message.integrity.as_deref() {
        None | Some("holds") => String::new(),
        Some(flaw) => format!("  [NOT WHAT WAS COMMITTED TO: {flaw}]"),
    };
    let reason = message.reason.as_deref().map(|reason| format!("  [{reason}]")).unwrap_or_default();
    let who = if message.outgoing { "to" } else { "from" };
    format!("{} {sign}{who} {} {}{flaw}{reason}", time(message.sent), short(&message.peer), message.text)
}

/// A change of the other side as a line of a history.
fn noted(note: &Note) -> String {
    format!("{} {}", time(note.seen), super::change(&note.change))
}

/// An event as a line, where it has something to say.
fn words(event: &Event) -> Option<String> {
    Some(match event {
        Event::Message { message } => line(message),
        Event::Connected | Event::CaughtUp => return None,
        Event::Removed => "! this device is not one of its identity any more".to_owned(),
        Event::Disconnected { code, reason, retry_in_ms } => format!("disconnected ({code}: {reason}), again in {retry_in_ms} ms"),
        Event::Accepted { message_id } => format!("✓ {message_id}"),
        Event::Receipt { message_id, kind, by } => {
            let read = if *kind == Kind::Read { " read" } else { "" };
            format!("✓✓{read} {message_id} says device {} of {}", by.device, short(&by.did))
        }
        Event::Waiting { message_id, code, reason } => format!("· {message_id} waits ({code}: {reason})"),
        Event::Refused { message_id, code, reason } => format!("✗ {message_id} ({code}: {reason})"),
        Event::OtherAccepted { message_id } => format!("! the relay accepted something else than what was sent as {message_id}"),
        Event::Changed { note } => format!("{} ({})", super::change(&note.change), short(&note.did)),
        Event::Lost { from, to } => format!("! messages {from} to {to} were not fetched in time and are gone"),
    })
}

/// The first letters of an identifier: enough for a person to tell their contacts apart.
fn short(did: &Did) -> String {
    did.suffix().chars().take(8).collect()
}

fn time(at: Millis) -> String {
    tendermint::Time::try_from(at).map_or_else(|_| at.to_string(), |time| time.to_rfc3339().chars().take(19).collect())
}

fn read_text() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().take(MAX_TEXT).read_to_string(&mut text).map_err(Failure::io(std::path::Path::new("-")))?;
    Ok(text)
}
