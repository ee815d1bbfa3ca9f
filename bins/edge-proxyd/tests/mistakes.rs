//! Realistic mistakes: each is answered with its file, line, value and fix.

use testkit::mistakes::{Mistake, check, file, together, usage};

const MISTAKES: [Mistake; 35] = [
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nhosts = \"git.example.org\"\nserver_name = \"a\"\n",
        "server_name",
        "write hosts",
    ),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nhosts = \"git.example.org\"\nproxy_pass = \"http://127.0.0.1:3000\"\n",
        "proxy_pass",
        "write upstream = \"http://127.0.0.1:3000\"",
    ),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nhosts = \"git.example.org\"\nroot = \"/var/www\"\n",
        "root",
        "files are not served",
    ),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nhosts = \"git.example.org\"\nbackend = \"x\"\n",
        "backend",
        "write upstream",
    ),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nhosts = \"git.example.org\"\nreverse_proxy = \":3000\"\n",
        "reverse_proxy",
        "write upstream",
    ),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nhosts = \"git.example.org\"\nupstream = \"127.0.0.1:3000\"\n",
        "127.0.0.1:3000",
        "http://127.0.0.1:3000",
    ),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nhosts = \"git.example.org\"\nupstraem = \"http://a\"\n",
        "upstraem",
        "did you mean `upstream`?",
    ),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nhosts = \"git.example.org\"\nplain = \"sevre\"\n",
        "sevre",
        "did you mean `serve`?",
    ),
    file(
        4,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nhosts = \"https://git.example.org\"\n",
        "https://git.example.org",
        "without scheme",
    ),
    file(3, "[[listen]]\naddress = \"0.0.0.0:80\"\ntls = \"yes\"\n", "yes", "true or false, without quotes"),
    file(3, "[[listen]]\naddress = \"0.0.0.0:80\"\nhttp3 = true\n", "http3", "write tls = true"),
    file(2, "[[listen]]\naddress = \"443\"\n", "443", "0.0.0.0:443"),
    file(2, "[[listen]]\nadress = \"0.0.0.0:80\"\n", "adress", "did you mean `address`?"),
    file(
        4,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[trust]\nranges = \"100.64.0.1/10\"\n",
        "100.64.0.1/10",
        "write 100.64.0.0/10",
    ),
    file(
        4,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[trust]\nranges = \"10.0.0.0/33\"\n",
        "10.0.0.0/33",
        "100.64.0.0/10",
    ),
    file(
        4,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[trust]\nheader = \"x-forwarded-fro\"\n",
        "x-forwarded-fro",
        "did you mean `x-forwarded-for`?",
    ),
    file(4, "[[listen]]\naddress = \"0.0.0.0:80\"\n[timeouts]\nidle = \"10\"\n", "10", "10s"),
    file(4, "[[listen]]\naddress = \"0.0.0.0:80\"\n[timeouts]\nbody = 60\n", "60", "write \"60s\""),
    file(4, "[[listen]]\naddress = \"0.0.0.0:80\"\n[limits]\nheader_bytes = \"1TB\"\n", "1TB", "16KiB"),
    file(
        4,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[certificates]\nfolder = \"acme\"\n",
        "acme",
        "begin with /",
    ),
    file(4, "[[listen]]\naddress = \"0.0.0.0:80\"\n[log]\nformat = \"jsn\"\n", "jsn", "did you mean `json`?"),
    file(
        4,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[log]\nfile = \"access.log\"\n",
        "access.log",
        "begin with /",
    ),
    file(
        4,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[status]\naddress = \"0.0.0.0:9180\"\n",
        "0.0.0.0:9180",
        "loopback",
    ),
    file(1, "[[site]]\nhosts = \"a.example.org\"\ndrop = true\n", "listen", "add [[listen]]"),
    file(2, "[[listen]]\naddress = 0.0.0.0:80\n", "not valid TOML", "put the value in quotes"),
    file(
        3,
        "[[listen]]\naddress = \"0.0.0.0:80\"\naddress = \"0.0.0.0:81\"\n",
        "not valid TOML",
        "keep one of them",
    ),
    file(
        3,
        "[[listen]]\naddress = \"0.0.0.0:80\"\nssl_certificate = \"/x\"\n",
        "ssl_certificate",
        "[certificates]",
    ),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nhosts = \"git.example.org\"\nlocation = \"/\"\n",
        "location",
        "[[site.route]]",
    ),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[[site]]\nhosts = \"git.example.org\"\nclient_max_body_size = \"1m\"\n",
        "client_max_body_size",
        "body_limit",
    ),
    file(4, "[[listen]]\naddress = \"0.0.0.0:80\"\n[acme]\nemail = 1\n", "acme.email", "quotes"),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[acme.provider.a]\ntoken = \"file:/x\"\nkind = \"cloudflair\"\n",
        "cloudflair",
        "did you mean `cloudflare`?",
    ),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[acme.provider.a]\nkind = \"cloudflare\"\ntoken = \"hunter2\"\n",
        "acme.provider.a.token",
        "file:/path",
    ),
    file(
        5,
        "[[listen]]\naddress = \"0.0.0.0:80\"\n[acme]\n[[acme.certificate]]\nnames = \"localhost\"\n",
        "localhost",
        "www.example.org",
    ),
    usage(&["check", "--confg", "x"], "--confg", "--config"),
    usage(&["chek"], "chek", "check"),
];

#[test]
fn every_mistake_is_named_with_its_place_value_and_fix() {
    check(env!("CARGO_BIN_EXE_edge-proxyd"), "edge.toml", &["check", "--config", "FILE"], &MISTAKES);
}

#[test]
fn mistakes_of_form_and_of_meaning_are_named_together() {
    let text = "[[listen]]\naddress = \"0.0.0.0:80\"\n\n[[site]]\nhosts = \"a.example.org\"\nupstraem = \"http://a\"\n\n\
                [[site]]\nhosts = \"b.example.org\"\nupstream = \"nobody\"\n\n\
                [acme]\nemial = \"a@b\"\n[[acme.certificate]]\nnames = \"a.example.org\"\nauthority = \"nobody\"\n";
    let wanted = [
        (6, "site[0].upstraem"),
        (10, "site[1].upstream"),
        (13, "acme.emial"),
        (16, "acme.certificate[0].authority"),
    ];
    let args = ["check", "--config", "FILE"];
    assert_eq!(together(env!("CARGO_BIN_EXE_edge-proxyd"), "edge.toml", &args, text, &wanted), wanted.len());
}

/// Whatever happens, programs read one document.
#[test]
fn each_answer_is_one_document() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write(
        "good.toml",
        "[[listen]]\naddress = \"127.0.0.1:8080\"\n[[site]]\nhosts = [\"a.test\"]\nplain = \"serve\"\nupstream = \"http://127.0.0.1:1\"\n",
    );
    write("empty.toml", "[[listen]]\naddress = \"127.0.0.1:8080\"\n");
    write("wrong.toml", "[[listen]]\naddress = \"127.0.0.1:8080\"\n[log]\nfile = \"/nonexistent/x.log\"\n");
    write("nginx.conf", "http { server {\n");
    let answer = |code: i32, args: &[&str]| {
        testkit::document(env!("CARGO_BIN_EXE_edge-proxyd"), folder.path(), args, code)
    };
    answer(0, &["check", "--no-files", "--config", "good.toml"]);
    answer(3, &["check", "--no-files", "--config", "empty.toml"]);
    answer(2, &["check", "--config", "wrong.toml"]);
    answer(2, &["check", "--config", "nowhere.toml"]);
    let explain = ["explain", "--no-files", "--config", "good.toml", "--from", "192.0.2.1"];
    answer(0, &[&explain[..], &["http://a.test/"]].concat());
    answer(2, &[&explain[..], &["ftp://a.test/"]].concat());
    answer(2, &[&explain[..], &["--listener", "nobody"]].concat());
    answer(2, &["import", "nginx.conf"]);
    answer(2, &["import", "nowhere.conf"]);
    answer(2, &["status", "--config", "good.toml"]);
    answer(1, &["reload", "--control", "nowhere.sock"]);
    answer(1, &["maintenance", "on", "a.test", "--control", "nowhere.sock"]);
    answer(2, &["chek"]);
}
