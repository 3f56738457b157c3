//! The key of the access tokens, in the relay's home.

use std::path::Path;

use genesis::{entropy, file};
use types::SigningKey;

use crate::Error;

/// How large the file may be, in bytes.
const MAX_BYTES: u64 = 256;

/// The key in the file: 64 hexadecimal digits and a newline. Makes it where there is none, mode 0600.
///
/// # Errors
/// [`Error::File`], also when others may read it; [`Error::TokensKey`].
pub fn open(path: &Path) -> Result<SigningKey, Error> {
    if !path.exists() {
        let key = entropy::key();
        let text = format!("{}\n", hex::encode(key.seed()));
        match file::create_secret(path, text.as_bytes()) {
            // Another relay of this home was faster: its key is the key.
            Err(genesis::Error::Exists(_)) => {}
            made => return made.map_err(Error::file(path)).map(|()| key),
        }
    }
    let bytes = file::read_secret(path, MAX_BYTES).map_err(Error::file(path))?;
    let mut seed = [0; 32];
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    hex::decode_to_slice(text, &mut seed).map_err(|_| Error::TokensKey { path: path.to_owned() })?;
    Ok(SigningKey::from_seed(&seed))
}
