//! `zynk`: identities, messages and stamped hashes, and a chain that proves them without itself.
//!
//! Parse, load, trace, run: what a command does is in `commands/`, what it needs is in the rooms.

mod cli;
mod commands;
mod failure;
mod proxy;
mod report;
mod stamping;
mod unlock;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};
use crate::commands::person::{account, contacts, messages, proofs};
use crate::failure::Failure;
use crate::report::Report;

/// A node allocates for each transaction some hundred times, on many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What never speaks: Signal's library logs whom it encrypts for.
const QUIET: [&str; 2] = ["libsignal_protocol_syft=off", "spqr_syft=off"];

fn main() -> ExitCode {
    let cli = Cli::parse();
    trace(&cli.command);
    unlock::install(cli.passphrase_file);
    match run(cli.command, cli.json) {
        Ok(report) => finish(&report, cli.json),
        Err(failure) => fail(&failure, cli.json),
    }
}

fn run(command: Command, json: bool) -> Result<Report, Failure> {
    match command {
        Command::Genesis(command) => commands::genesis::run(command),
        Command::Keys(command) => commands::keys::run(&command),
        Command::Verify(arguments) => commands::verify::run(&arguments),
        Command::Tx(command) => wait(commands::tx::run(command)),
        Command::Stake(command) => wait(commands::stake::run(command)),
        Command::Validator(command) => wait(commands::validator::run(command)),
        Command::Gov(command) => wait(commands::gov::run(command)),
        Command::Did(command) => wait(commands::did::run(command)),
        Command::Stamp(arguments) => wait(commands::stamp::run(arguments)),
        Command::Register(arguments) => wait(account::register(arguments)),
        Command::Link(arguments) => wait(account::link(arguments, json)),
        Command::Unlink(arguments) => wait(account::unlink(arguments)),
        Command::RotateKey(arguments) => wait(account::rotate_key(arguments)),
        Command::Recover(arguments) => wait(account::recover(arguments)),
        Command::Send(arguments) => wait(messages::send(arguments)),
        Command::Listen(arguments) => wait(messages::listen(arguments, json)),
        Command::History(arguments) => wait(messages::history(arguments)),
        Command::Contacts(arguments) => wait(contacts::list(arguments)),
        Command::VerifyContact(arguments) => wait(contacts::verify(arguments)),
        Command::Proof(arguments) => wait(proofs::proof(arguments)),
        Command::Export(arguments) => wait(proofs::export(arguments)),
        Command::Node(arguments) => serve(commands::node::run(arguments)),
        Command::Signer(arguments) => serve(commands::signer::run(arguments)),
        Command::Relay(arguments) => serve(commands::relay::run(arguments)),
        Command::Gateway(arguments) => serve(commands::gateway::run(arguments)),
        Command::Devnet(arguments) => wait(commands::devnet::run(arguments, json)),
        Command::Demo(arguments) => wait(commands::demo::run(arguments, json)),
        Command::Bench(command) => serve(commands::bench::run(command, json)),
        Command::Light(arguments) => serve(commands::light::run(arguments, json)),
    }
}

/// Runs a command that talks to a node: one thread is enough for one conversation.
fn wait(command: impl Future<Output = Result<Report, Failure>>) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::Runtime)?.block_on(command)
}

/// Runs a service: on every core.
fn serve(service: impl Future<Output = Result<Report, Failure>>) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)?;
    let ended = runtime.block_on(service);
    // A thread that reads standard input would hold the process for ever.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended
}

/// What the log says goes to standard error, and is chosen by `ZYNK_LOG` as by `RUST_LOG` elsewhere. Services that write
/// to a file or a collector write JSON, one object a line.
fn trace(command: &Command) {
    use std::io::IsTerminal as _;
    let service = matches!(command, Command::Relay(_) | Command::Gateway(_) | Command::Signer(_));
    let unset = if service { "info" } else { "warn" };
    let mut filter = EnvFilter::try_from_env("ZYNK_LOG").unwrap_or_else(|_| EnvFilter::new(unset));
    for quiet in QUIET {
        filter = filter.add_directive(quiet.parse().expect("a constant directive"));
    }
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    if service && !terminal { builder.json().init() } else { builder.init() }
}

fn finish(report: &Report, json: bool) -> ExitCode {
    // Who reads us may have gone away; then there is nobody to tell.
    let _ = match (json, report.holds) {
        (true, _) => writeln!(std::io::stdout(), "{}", report.json),
        (false, true) => writeln!(std::io::stdout(), "{}", report.text),
        (false, false) => writeln!(std::io::stderr(), "{}", report.text),
    };
    if report.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(failure: &Failure, json: bool) -> ExitCode {
    let advice = failure.advice().map(|advice| format!("\nhint: {advice}")).unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "error {}: {failure}{advice}", failure.code());
    if json {
        let error = serde_json::json!({"error": {"code": failure.code(), "message": failure.to_string()}});
        let _ = writeln!(std::io::stdout(), "{error}");
    }
    ExitCode::FAILURE
}
