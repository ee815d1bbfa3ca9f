//! Certificates in the layouts of other programs, and by their files.

use edge_proxy::{CertificateFiles, Certificates};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use testkit::Authority;

fn write(chain: &Path, key: &Path, authority: &Authority, names: &[&str]) {
    let (text, secret) = authority.issue(names);
    for path in [chain, key] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    fs::write(chain, text).unwrap();
    fs::write(key, secret).unwrap();
    fs::set_permissions(key, PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn folders_of_certbot_and_lego() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    // certbot: links to numbered files in another folder.
    let archive = folder.path().join("archive/b.test");
    let live = folder.path().join("live/b.test");
    fs::create_dir_all(&live).unwrap();
    fs::write(folder.path().join("live/README"), "This directory").unwrap();
    write(&archive.join("fullchain1.pem"), &archive.join("privkey1.pem"), &authority, &["b.test"]);
    let link = |number: u32| {
        for name in ["fullchain", "privkey"] {
            let link = live.join(format!("{name}.pem"));
            let _ = fs::remove_file(&link);
            symlink(format!("../../archive/b.test/{name}{number}.pem"), link).unwrap();
        }
    };
    link(1);
    let (found, refreshed) = Certificates::load(folder.path().join("live")).unwrap();
    assert!(refreshed.problems.is_empty(), "{refreshed:?}");
    assert_eq!(found.names(), ["b.test"]);
    let serial = found.list()[0].serial.clone();
    write(&archive.join("fullchain2.pem"), &archive.join("privkey2.pem"), &authority, &["b.test"]);
    link(2);
    assert_eq!(found.refresh().unwrap().swapped, std::slice::from_ref(&live));
    assert_ne!(found.list()[0].serial, serial);
    // lego: files beside each other, the issuer's too.
    let lego = folder.path().join("certificates");
    write(&lego.join("_.c.test.crt"), &lego.join("_.c.test.key"), &authority, &["*.c.test", "c.test"]);
    fs::write(lego.join("_.c.test.issuer.crt"), authority.root()).unwrap();
    fs::write(lego.join("_.c.test.json"), "{}").unwrap();
    let (found, refreshed) = Certificates::load(&lego).unwrap();
    assert!(refreshed.problems.is_empty(), "{refreshed:?}");
    assert_eq!(found.names(), ["*.c.test", "c.test"]);
}

#[test]
fn a_pair_that_is_named_takes_the_place_of_the_folders() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let all = folder.path().join("acme");
    authority.write(&all.join("a"), &["a.test"]);
    authority.write(&all.join("b"), &["b.test"]);
    let files =
        CertificateFiles { certificate: folder.path().join("own.pem"), key: folder.path().join("own.key") };
    let (found, refreshed) = Certificates::open(Some(all.clone()), vec![files.clone()]).unwrap();
    // It is missing, which is said; the folder serves the name meanwhile.
    assert_eq!(refreshed.problems.len(), 1, "{refreshed:?}");
    assert!(refreshed.problems[0].to_string().contains("own.pem"), "{refreshed:?}");
    assert!(found.covers("a.test"));
    write(&files.certificate, &files.key, &authority, &["a.test"]);
    assert_eq!(found.refresh().unwrap().swapped, std::slice::from_ref(&files.certificate));
    let by_name = found.list().into_iter().find(|one| one.folder == files.certificate).unwrap();
    assert_eq!(by_name.names, ["a.test"]);
    assert_eq!(found.list().len(), 3);
    // It is no longer named.
    found.set_files(Vec::new());
    found.refresh().unwrap();
    assert_eq!(found.list().len(), 2);
    assert!(found.covers("a.test") && found.covers("b.test"));
    // Without a folder at all.
    let (alone, refreshed) = Certificates::open(None, vec![files]).unwrap();
    assert!(refreshed.problems.is_empty() && alone.covers("a.test") && !alone.covers("b.test"));
}
