use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::tests::tls::{CERTIFICATE, KEY, OTHER_KEY, files};

#[test]
fn files_that_do_not_fit_are_refused_by_name() {
    let broken = CERTIFICATE.replace("MIIB", "MIIC");
    let long = CERTIFICATE.repeat(100);
    let stories = [
        ("none", "", KEY, "certificate.pem", "no certificate"),
        ("the key in its place", KEY, KEY, "certificate.pem", "no certificate"),
        ("half of one", &CERTIFICATE[..200], KEY, "certificate.pem", "no certificate"),
        ("one that is none inside", &broken, KEY, "certificate.pem", "invalid"),
        ("a long one", &long, KEY, "certificate.pem", "above the bound"),
        ("no key", CERTIFICATE, "", "key.pem", "no private key"),
        ("the certificate in its place", CERTIFICATE, CERTIFICATE, "key.pem", "no private key"),
        ("another's key", CERTIFICATE, OTHER_KEY, "key.pem", "not the key of the certificate"),
    ];
    for (story, certificate, key, path, reason) in stories {
        let folder = TempDir::new().expect("a folder");
        let error = configure(&files(&folder, certificate, key)).expect_err(story);
        let text = error.to_string();
        assert!(error.code() == 7504 && text.contains(path) && text.contains(reason), "{story}: {text}");
    }
}

#[test]
fn files_that_are_missing_or_open_to_others_are_refused() {
    let folder = TempDir::new().expect("a folder");
    let tls = files(&folder, CERTIFICATE, KEY);
    configure(&tls).expect("they fit");

    std::fs::set_permissions(&tls.key, Permissions::from_mode(0o640)).expect("changed");
    let error = configure(&tls).expect_err("exposed");
    assert!(error.code() == 7504 && error.to_string().contains("chmod 600"), "{error}");

    for path in [&tls.key, &tls.certificate] {
        std::fs::remove_file(path).expect("removed");
        let error = configure(&tls).expect_err("missing");
        assert!(error.code() == 7504 && error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
