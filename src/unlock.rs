//! Where a command gets the passphrases of encrypted key files: never from its arguments, which everybody on the machine
//! can read.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use genesis::{Error, Passphrase, file, passphrase};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The file that --passphrase-file or the environment names.
static NAMED: OnceLock<Option<PathBuf>> = OnceLock::new();

/// How large a passphrase's file may be, in bytes.
const MAX_FILE: u64 = 4096;

/// The name of the credential that holds the passphrase, under systemd.
const CREDENTIAL: &str = "zynk-passphrase";

/// Where systemd says that credentials are.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// What a process that starts itself anew tells its next life: the number of the pipe with the passphrases.
const PIPE: &str = "ZYNK_PASSPHRASE_PIPE";

/// So much is read out of that pipe, in bytes.
const MAX_PIPE: u64 = 16 << 10;

/// Says how this process asks for passphrases: in `file`, in systemd's credential, or at the terminal.
pub(crate) fn install(file: Option<PathBuf>) {
    inherit();
    let _ = NAMED.set(file);
    passphrase::ask_with(Box::new(ask));
}

fn ask(path: &Path, holds: &str) -> Result<Passphrase, Error> {
    if let Some(given) = given()? {
        return Ok(given);
    }
    prompt(&format!("passphrase of {} ({holds}): ", path.display())).map_err(|reason| Error::Encrypted { path: path.to_owned(), reason })?
}

/// The passphrase in the file that was named, or in systemd's credential.
fn given() -> Result<Option<Passphrase>, Error> {
    if let Some(named) = NAMED.get().and_then(Option::as_deref) {
        return read(named).map(Some);
    }
    let credential = std::env::var_os(CREDENTIALS).map(|folder| PathBuf::from(folder).join(CREDENTIAL));
    // Its mode says nothing: systemd protects the folder, and may give access by a list.
    credential.filter(|path| path.exists()).map(|path| first_line(file::read(&path, MAX_FILE)?)).transpose()
}

fn read(path: &Path) -> Result<Passphrase, Error> {
    first_line(file::read_secret(path, MAX_FILE)?)
}

fn first_line(bytes: Vec<u8>) -> Result<Passphrase, Error> {
    Passphrase::first_line(&Zeroizing::new(bytes))
}

/// Asks at the terminal, if there is one: a service has none, and must say so rather than wait.
fn prompt(words: &str) -> Result<Result<Passphrase, Error>, String> {
    if !std::io::stdin().is_terminal() {
        return Err("there is no terminal to ask at".to_owned());
    }
    let text = rpassword::prompt_password(words).map_err(|error| format!("the terminal could not be read: {error}"))?;
    Ok(Passphrase::new(Zeroizing::new(text)))
}

/// A passphrase for a file that is to be encrypted: out of where any comes from, but asked for twice.
pub(crate) fn new_passphrase() -> Result<Passphrase, Failure> {
    match given()? {
        Some(given) => Ok(given),
        None => ask_twice(),
    }
}

fn ask_twice() -> Result<Passphrase, Failure> {
    let ask = |words| prompt(words).map_err(|reason| Failure::NoPassphrase(std::io::Error::other(reason)));
    let first = ask("new passphrase: ")??;
    if ask("once more: ")?? == first { Ok(first) } else { Err(Failure::TwoPassphrases) }
}

/// The passphrase that takes the place of another: out of `file` or from the terminal, since where the first one came from
/// it would be the same.
pub(crate) fn another_passphrase(file: Option<&Path>) -> Result<Passphrase, Failure> {
    match file {
        Some(file) => Ok(read(file)?),
        None => ask_twice(),
    }
}

/// Hands the passphrases on to the process that takes this one's place: through a pipe, which is empty once it was
/// read. Those that a person typed could not be had again. Hold what is returned until then.
pub(crate) fn bequeath(next: &mut Command) -> std::io::Result<Option<std::io::PipeReader>> {
    use std::os::fd::AsRawFd as _;
    let known = passphrase::known();
    if known.is_empty() {
        return Ok(None);
    }
    let (reader, mut writer) = std::io::pipe()?;
    for passphrase in known {
        writer.write_all(passphrase.as_bytes())?;
        writer.write_all(b"\n")?;
    }
    rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::empty())?;
    next.env(PIPE, reader.as_raw_fd().to_string());
    Ok(Some(reader))
}

/// Takes over what [`bequeath`] has left.
fn inherit() {
    let Some(number) = std::env::var(PIPE).ok().and_then(|number| number.parse::<u16>().ok()) else {
        return;
    };
    let mut bytes = Zeroizing::new(Vec::new());
    // What cannot be read is asked for again.
    let _ = std::fs::File::open(format!("/proc/self/fd/{number}")).and_then(|pipe| pipe.take(MAX_PIPE).read_to_end(&mut bytes));
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Ok(passphrase) = Passphrase::first_line(line) {
            passphrase::remember(passphrase);
        }
    }
}
