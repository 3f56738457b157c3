//! `zynk verify`: a proof, checked with nothing but a genesis or a checkpoint.

use std::fs::File;
use std::path::{Path, PathBuf};

use audit::bundle::{MAX_BYTES, VerifiedItem, verify};
use audit::{Body, Bundle};
use clap::Args;
use genesis::file;
use light::Options;
use serde_json::json;
use tendermint::Time;

use crate::cli::Basis;
use crate::failure::Failure;
use crate::report::Report;
use crate::stamping;

/// How many items are listed for people.
const LISTED: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  zynk verify report.pdf.zproof --file report.pdf --genesis genesis.json\n\n\
    The answer is one of: verified from genesis; verified from a checkpoint, with its age; not verified, and why.\n\
    The exit status is 0 only if it is verified. No network is used.")]
pub(crate) struct Arguments {
    /// The proof, binary or JSON
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// A file that the proof must be about
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    basis: Basis,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let trust = arguments.basis.trust()?;
    let bundle = load(&arguments.bundle)?;
    let verdict = match verify(&bundle, &trust, Time::now(), &Options::default()) {
        Ok(verdict) => verdict,
        Err(refusal) => {
            let json = json!({
                "verified": false,
                "reason": {"code": refusal.code(), "cause": refusal.cause(), "message": refusal.to_string()},
            });
            return Ok(Report::refuted(format!("not verified: {refusal} ({})", refusal.code()), json));
        }
    };
    let shown = match &arguments.file {
        Some(path) => match matching(&bundle, path)? {
            Some(index) => format!("{} is item {index} of the proof", path.display()),
            None => return Ok(elsewhere(path)),
        },
        None => listed(&verdict.items),
    };
    let json = json!({"verified": true, "verdict": verdict, "file": arguments.file});
    Ok(Report::new(format!("{verdict}\n{shown}"), json))
}

fn load(path: &Path) -> Result<Bundle, Failure> {
    let bytes = file::read(path, MAX_BYTES as u64).map_err(Failure::file(path))?;
    Bundle::parse(&bytes).map_err(|source| Failure::Bundle { path: path.to_owned(), source })
}

/// The place of the item in the batch that commits to the file's content.
fn matching(bundle: &Bundle, path: &Path) -> Result<Option<u32>, Failure> {
    let (content, _) = File::open(path).and_then(|mut file| stamping::hash(&mut file)).map_err(Failure::io(path))?;
    Ok(bundle.item_for(&content).map(|item| item.index))
}

fn elsewhere(path: &Path) -> Report {
    let message = format!("the proof holds, but it is not about {}: it was changed, or it is another file's proof", path.display());
    let json = json!({"verified": false, "reason": {"code": 6201, "cause": null, "message": message}});
    Report::refuted(format!("not verified: {message} (6201)"), json)
}

fn listed(items: &[VerifiedItem]) -> String {
    let line = |item: &VerifiedItem| match &item.body {
        Some(Body::File { content, size, name }) => {
            let name = name.as_ref().map_or_else(|| "a file".to_owned(), |name| format!("{:?}", &**name));
            format!("{name}, {size} bytes, BLAKE3 {content}")
        }
        Some(Body::Message { content, sequence, .. }) => format!("message {sequence}, BLAKE3 {content}"),
        None => format!("something that the proof does not show, leaf {}", item.leaf),
    };
    let mut lines: Vec<_> = items.iter().take(LISTED).map(line).collect();
    if items.len() > LISTED {
        lines.push(format!("and {} more", items.len() - LISTED));
    }
    lines.push("compare it with the file at hand by --file".to_owned());
    lines.join("\n")
}
