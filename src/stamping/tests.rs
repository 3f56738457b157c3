use std::os::unix::fs::symlink;

use audit::verify_path;
use tempfile::TempDir;

use super::*;

/// A folder with these files, each with its own path for content.
fn folder(files: &[&str]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
        fs::write(path, file).expect("written");
    }
    folder
}

fn names(sources: &Sources) -> Vec<String> {
    sources.files.iter().map(|source| source.name().expect("a short name").to_string()).collect()
}

#[test]
fn a_folder_is_walked_in_order_and_without_links_or_proofs() {
    let folder = folder(&["b", "a/z", "a/b/c", "a.txt", "b.zproof"]);
    symlink("/etc", folder.path().join("outside")).expect("linked");
    symlink(folder.path(), folder.path().join("a/ring")).expect("linked");
    let found = sources(folder.path()).expect("files");
    assert_eq!(names(&found), ["a/b/c", "a/z", "a.txt", "b"]);
    assert_eq!(found.skipped, 2);
}

#[test]
fn one_file_is_called_by_its_name_and_proven_beside_itself() {
    let folder = folder(&["deep/file.txt"]);
    let path = folder.path().join("deep/file.txt");
    let found = sources(&path).expect("a file");
    assert_eq!(names(&found), ["file.txt"]);
    assert_eq!(found.files[0].proof(None), folder.path().join("deep/file.txt.zproof"));
    assert_eq!(found.files[0].proof(Some(Path::new("/out"))), Path::new("/out/file.txt.zproof"));
    symlink(&path, folder.path().join("link")).expect("linked");
    assert_eq!(names(&sources(&folder.path().join("link")).expect("a person named it")), ["link"]);
}

#[test]
fn what_cannot_be_stamped_is_refused() {
    let many = folder(&[]);
    for number in 0..=MAX_BATCH {
        fs::File::create(many.path().join(number.to_string())).expect("made");
    }
    let empty = folder(&["only.zproof"]);
    let cases = [
        ("nothing there", PathBuf::from("/no/such/file"), 6101),
        ("no file in it", empty.path().to_owned(), 6102),
        ("a file too many", many.path().to_owned(), 6103),
        ("a device", PathBuf::from("/dev/null"), 6104),
    ];
    for (case, path, expected) in cases {
        assert_eq!(sources(&path).map_or_else(|error| error.code(), |_| 0), expected, "{case}");
    }
}

#[test]
fn a_long_name_is_left_out() {
    let source = |relative: &str| Source { path: PathBuf::new(), relative: relative.into() };
    assert_eq!(source(&"n".repeat(255)).name().as_deref(), Some(&*"n".repeat(255)));
    assert_eq!(source(&"n".repeat(256)).name(), None);
}

#[test]
fn every_file_gets_a_place_in_the_batch() {
    let folder = folder(&["one", "two", "three", "same"]);
    fs::copy(folder.path().join("one"), folder.path().join("same")).expect("copied");
    let bodies: Vec<_> = sources(folder.path()).expect("files").files.iter().map(|source| read(source, true).expect("readable")).collect();
    let mut counter = 0u64;
    let sealed = seal(bodies.clone(), || {
        counter += 1;
        Hash::sha256(&[&counter.to_be_bytes()]).0
    });
    assert_eq!(sealed.batch.count(), 4);
    for (item, body) in sealed.items.iter().zip(bodies) {
        let leaf = item.opening.leaf();
        assert_eq!(verify_path(&leaf, item.index, sealed.batch.count(), &item.path, &sealed.batch.root()), Ok(()));
        let CommitmentPart::Opened(opening) = &item.opening.commitment else { panic!("a stamp shows its body") };
        assert_eq!(opening.body, body);
    }
}

#[test]
fn a_hash_is_blake3s() {
    let content = vec![7u8; 200_000];
    let (found, size) = hash(&mut &content[..]).expect("memory can be read");
    assert_eq!((found.0, size), (*blake3::hash(&content).as_bytes(), 200_000));
}
