//! `zynk relay`: run a relay, invite somebody to one, give it another log, and get the old one's bond back.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::node::told;
use crate::failure::Failure;
use crate::report::Report;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Example, with a home that `zynk devnet` made:\n  \
    zynk relay --home .zynk/devnet/relay\n\n\
    The home holds relay.toml, genesis.json and account.key, whose account pays for the log's bond, for anchors and for\n\
    people's identities. Ctrl-C stops it cleanly; started again it goes on where it was.")]
pub(crate) struct Arguments {
    /// The relay's home folder
    #[arg(long, env = "ZYNK_RELAY_HOME", value_name = "FOLDER", global = true)]
    home: Option<PathBuf>,
    /// Stop when standard input ends: for programs that start relays
    #[arg(long, hide = true)]
    attached: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draw an invitation: whoever has it can register once
    Invite,
    /// Give a stopped relay another log, where its own cannot go on (7152 to 7155)
    #[command(after_help = "Example:\n  zynk relay new-log --home relay\n\n\
        It pays another bond. The old log is retired, its file is kept beside the new one's; accounts and mailboxes\n\
        stay. What the old log is proven to hold stays provable under it, everything else is anchored again. Everybody\n\
        signs in anew. Interrupted, it is run again.")]
    NewLog {
        /// Also where the relay's own log agrees with the chain, such as when its key may be known to others
        #[arg(long)]
        yes: bool,
    },
    /// Get back the bonds of a stopped relay's former logs
    #[command(after_help = "Example:\n  zynk relay reclaim --home relay\n\n\
        The chain holds the bond of a retired log for `bond_hold_blocks` blocks (`zynk gov params`), and then gives it\n\
        back to the relay's account when it is asked. Each that comes back costs a fee.")]
    Reclaim,
}

pub(crate) async fn run(arguments: Arguments) -> Result<Report, Failure> {
    let home = relay::Home::new(&arguments.home.ok_or(Failure::NoHome("ZYNK_RELAY_HOME"))?);
    match arguments.command {
        Some(Command::Invite) => {
            let invitation = relay::invite(&home).await?;
            Ok(Report::new(invitation.clone(), json!({"invitation": invitation})))
        }
        Some(Command::NewLog { yes }) => Ok(renewed(Box::pin(relay::new_log(&home, yes)).await?)),
        Some(Command::Reclaim) => Ok(reclaimed(&Box::pin(relay::reclaim(&home)).await?)),
        None => {
            let stopped = told(arguments.attached);
            Box::pin(relay::run(home, stopped)).await?;
            Ok(Report::new("the relay has stopped", json!({"stopped": true})))
        }
    }
}

fn renewed(renewed: relay::Renewed) -> Report {
    let relay::Renewed { old, retired, new, leaves } = renewed;
    let ended = retired.map_or_else(|| "takes no anchors".to_owned(), |at| format!("was retired in block {at}"));
    Report::new(
        format!("the relay's log is {new}, {leaves} messages wait for it; {old} {ended}"),
        json!({"log": new, "leaves": leaves, "old": {"log": old, "retired": retired}}),
    )
}

fn reclaimed(reclaimed: &relay::Reclaimed) -> Report {
    let relay::Reclaimed { returned, held } = reclaimed;
    let mut lines: Vec<String> =
        returned.iter().map(|bond| format!("{} for {} came back in block {}", bond.amount, bond.log, bond.at)).collect();
    lines.extend(held.iter().map(|bond| format!("{} for {} is held until block {}", bond.amount, bond.log, bond.at)));
    if lines.is_empty() {
        lines.push("no bond of a former log is left to come back".to_owned());
    }
    let listed = |bonds: &[relay::Bond], at: &str| -> Vec<_> {
        bonds.iter().map(|bond| json!({"log": bond.log, "bond": bond.amount, at: bond.at})).collect()
    };
    Report::new(lines.join("\n"), json!({"returned": listed(returned, "height"), "held": listed(held, "until")}))
}
