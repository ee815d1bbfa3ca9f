//! Publications created, changed, drifted by hand and repaired.

use crate::common::{apply, as_superuser, converge, import_is_a_no_op, name, on_each, plan};
use pg_ensure::desired::{Database, Presence};
use pg_ensure::{Consent, DesiredState};

/// A publication of a table that the script of a new database makes is made in the same run.
#[test]
fn tables_of_a_script_are_published() {
    let postgres = testkit::postgres::Postgres::start(&testkit::postgres::Options::new(18));
    let server = as_superuser(&postgres);
    let mut feed = pg_ensure::inside::publication::Publication::default();
    feed.tables = Some([(name("public"), name("made"))].into());
    let mut shop = Database::new();
    shop.initial_sql = Some(crate::common::text("CREATE TABLE made (a int PRIMARY KEY)"));
    shop.inside.publications = [(name("feed"), feed)].into();
    let mut wish = DesiredState::new();
    wish.database(name("shop"), shop);
    let planned = plan(&server, &wish);
    assert!(planned.blocked.is_empty() && planned.notes[0].contains("publication feed"), "{planned:?}");
    assert!(apply(&server, &wish).is_complete());
    assert!(plan(&server, &wish).is_empty());
    let rows = postgres
        .session_in("shop")
        .query("SELECT pubname FROM pg_publication_tables WHERE tablename = 'made'");
    assert_eq!(rows.expect("rows").len(), 1);
}

/// What a declaration cannot have of a publication is named.
#[test]
fn what_an_import_loses_of_a_publication() {
    let postgres = testkit::postgres::Postgres::start(&testkit::postgres::Options::new(18));
    let statements = "CREATE TABLE t (a int PRIMARY KEY, b int); CREATE PUBLICATION plain FOR TABLE t;
         CREATE PUBLICATION part FOR TABLE t (a) WHERE (a > 1) WITH (publish_via_partition_root = true);
         CREATE PUBLICATION more FOR TABLES IN SCHEMA public WITH (publish_generated_columns = stored)";
    postgres.session().query(statements).expect("publications");
    let current = crate::common::run(as_superuser(&postgres).inspect_all()).expect("a state");
    let contents = current.databases[&name("postgres")].contents.as_ref().expect("contents");
    let lost = |of: &str| {
        let lost = contents.publications[&name(of)].undeclarable.iter();
        lost.map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(lost("plain"), "");
    assert_eq!(lost("part"), "lists of columns, publish_via_partition_root, row filters");
    assert_eq!(lost("more"), "publish_generated_columns, tables in schemas");
}

/// Publications created, drifted by hand and repaired; what the server would refuse is in the plan.
#[test]
fn publications_of_every_kind() {
    use pg_ensure::inside::publication::{Operation, Publication};
    const DRIFT: &[&str] = &[
        "ALTER PUBLICATION feed DROP TABLE \"S\".\"t.t\"",
        "ALTER PUBLICATION feed ADD TABLE u",
        "ALTER PUBLICATION feed SET (publish = 'truncate')",
        "ALTER PUBLICATION feed OWNER TO postgres",
        "ALTER PUBLICATION \"all\" SET (publish = 'insert')",
        "DROP PUBLICATION feed",
    ];
    on_each(|postgres| {
        let session = postgres.session();
        session.query("CREATE ROLE owner").expect("a role");
        session.query("CREATE DATABASE shop").expect("a database");
        let inside = postgres.session_in("shop");
        inside
            .query(
                "CREATE SCHEMA \"S\"; CREATE TABLE \"S\".\"t.t\" (x int); CREATE TABLE u (x int); CREATE VIEW v AS SELECT 1;
                 CREATE UNLOGGED TABLE w (x int); CREATE PUBLICATION old; CREATE PUBLICATION by_hand FOR TABLE u",
            )
            .expect("tables");
        let server = as_superuser(postgres);
        let table = |schema: &str, table: &str| (name(schema), name(table));
        let mut feed = Publication::default();
        feed.owner = Some(name("owner"));
        feed.tables = Some([table("S", "t.t")].into());
        feed.publish = Some([Operation::Insert, Operation::Delete].into());
        let mut all = Publication::default();
        all.all_tables = Some(true);
        all.publish = Some([Operation::Insert, Operation::Update].into());
        let mut old = Publication::default();
        old.presence = Presence::Absent;
        let mut wish = DesiredState::new();
        wish.external(name("owner"));
        let mut shop = Database::new();
        shop.inside.publications =
            [(name("feed"), feed.clone()), (name("all"), all.clone()), (name("old"), old)].into();
        wish.database(name("shop"), shop);
        let refused = plan(&server, &wish);
        assert_eq!(refused.blocked.len(), 1, "{:?}", refused.blocked);
        let consent = Consent::none().destroying("publication=shop/old".parse().expect("it names one"));
        let applied = converge(&server, &wish, &consent);
        assert_eq!((applied.done.len(), applied.left.blocked.len()), (4, 0));
        import_is_a_no_op(&server);
        for drift in DRIFT {
            inside.query(drift).unwrap_or_else(|why| panic!("{drift}: {why}"));
            assert!(!plan(&server, &wish).steps.is_empty(), "{}: {drift} is not seen", postgres.major());
            converge(&server, &wish, &Consent::none());
        }
        let kept = inside.query("SELECT FROM pg_publication_tables WHERE pubname = 'by_hand'").expect("rows");
        assert_eq!(kept.len(), 1);
        // Each is refused in words, before anything is changed.
        let publications = |wish: &mut DesiredState, changed: &[(&str, Publication)]| {
            let shop = wish.databases.get_mut("shop").expect("there");
            shop.inside.publications =
                changed.iter().map(|(of, wanted)| (name(of), wanted.clone())).collect();
        };
        let with = |change: fn(&mut Publication)| {
            let mut changed = Publication::default();
            change(&mut changed);
            changed
        };
        for (changed, of, why) in [
            (with(|one| one.tables = Some([(name("public"), name("v"))].into())), "feed", "ordinary table"),
            (with(|one| one.tables = Some([(name("public"), name("w"))].into())), "new", "ordinary table"),
            (with(|one| one.tables = Some([(name("public"), name("gone"))].into())), "new", "no table"),
            (with(|one| one.all_tables = Some(true)), "feed", "cannot be changed"),
            (with(|one| one.owner = Some(name("owner"))), "all", "not a superuser"),
        ] {
            publications(&mut wish, &[(of, changed)]);
            let refused = plan(&server, &wish);
            let said = refused.blocked.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(said.contains(why), "{why}: {said}");
            assert!(apply(&server, &wish).done.iter().all(|step| refused.steps.contains(step)));
        }
    });
}
