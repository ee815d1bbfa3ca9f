//! Properties of the pure core, over arbitrary clusters and wishes.

use pg_ensure::current::{
    Contents, DefaultKind, InstalledExtension, MembershipOptions, Owned, Session, SettingKey, StoredPassword,
};
use pg_ensure::desired::{
    self, DefaultGrant, DesiredState, Grant, GrantTarget, Membership, Presence, PrivilegeSet,
};
use pg_ensure::inside::publication::{Operation, Publication};
use pg_ensure::plan::{MembershipChange, RoleChange};
use pg_ensure::{
    Acl, Consent, CurrentState, DEFAULT_ITERATIONS, DestructibleObject, Grantee, Local, Name, Object,
    ObjectKind, Password, Privilege, Privileges, Setting, Text, ValidUntil, Version, diff, import, model,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeSet;

const ROLES: [&str; 6] = ["a", "b", "c", "Odd \"name\"", "d'e", "f"];
const DATABASES: [&str; 3] = ["x", "y", "z z"];

fn name(text: &str) -> Name {
    Name::new(text).expect(text)
}

fn text(text: &str) -> Text {
    Text::new(text).expect(text)
}

fn role() -> impl Strategy<Value = Name> {
    prop::sample::select(ROLES.as_slice()).prop_map(name)
}

fn database() -> impl Strategy<Value = Name> {
    prop::sample::select(DATABASES.as_slice()).prop_map(name)
}

fn comment() -> impl Strategy<Value = Text> {
    prop::sample::select(["", "one", "it's \\ \"two\""].as_slice()).prop_map(text)
}

fn privileges(kind: ObjectKind) -> impl Strategy<Value = Privileges> {
    let all: Vec<Privilege> = kind.all(Version::major_version(15)).iter().collect();
    let most = all.len();
    prop::sample::subsequence(all, 0..=most).prop_map(|list| list.into_iter().collect())
}

fn until() -> impl Strategy<Value = ValidUntil> {
    prop_oneof![
        Just(ValidUntil::Forever),
        Just(ValidUntil::Never),
        (0i64..4_000_000_000).prop_map(|seconds| ValidUntil::At(seconds * 1_000_000))
    ]
}

fn wanted_role() -> impl Strategy<Value = desired::Role> {
    let flags = prop::array::uniform7(option::of(any::<bool>()));
    let password = option::of(prop_oneof![
        Just(Password::None),
        prop::sample::select(["one", "two"].as_slice()).prop_map(Password::secret)
    ]);
    let presence = prop_oneof![9 => Just(Presence::Present), 1 => Just(Presence::Absent)];
    (flags, option::of(-1i32..5), option::of(until()), password, option::of(comment()), presence).prop_map(
        |(flags, connection_limit, valid_until, password, comment, presence)| desired::Role {
            presence,
            reassign_to: None,
            superuser: flags[0],
            createdb: flags[1],
            createrole: flags[2],
            inherit: flags[3],
            login: flags[4],
            replication: flags[5],
            bypassrls: flags[6],
            connection_limit,
            valid_until,
            password,
            comment,
        },
    )
}

fn publication() -> impl Strategy<Value = Publication> {
    let tables = prop_oneof![
        2 => Just(BTreeSet::new()),
        3 => Just(BTreeSet::from([(name("public"), name("t"))])),
        1 => Just(BTreeSet::from([(name("s"), name("nowhere"))])),
    ];
    let operation = prop::sample::select(
        [Operation::Insert, Operation::Update, Operation::Delete, Operation::Truncate].as_slice(),
    );
    let publish = option::of(btree_set(operation, 0..4));
    (option::of(role()), option::of(tables), option::of(any::<bool>()), publish, any::<bool>()).prop_map(
        |(owner, tables, all_tables, publish, stays)| {
            let mut publication = Publication::default();
            publication.presence = if stays { Presence::Present } else { Presence::Absent };
            publication.owner = owner;
            // All tables leave none to name.
            publication.all_tables = all_tables.filter(|all| !all || tables.is_none());
            publication.tables = tables;
            publication.publish = publish;
            publication
        },
    )
}

fn wanted_database() -> impl Strategy<Value = desired::Database> {
    let schema =
        (option::of(role()), option::of(comment()), any::<bool>()).prop_map(|(owner, comment, stays)| {
            desired::Schema {
                presence: if stays { Presence::Present } else { Presence::Absent },
                owner,
                comment,
            }
        });
    let schemas =
        btree_map(prop::sample::select(["public", "s", "t"].as_slice()).prop_map(name), schema, 0..3);
    let presence = prop_oneof![9 => Just(Presence::Present), 1 => Just(Presence::Absent)];
    (
        presence,
        option::of(role()),
        option::of(-1i32..5),
        option::of(any::<bool>()),
        option::of(comment()),
        schemas,
        btree_map(prop::sample::select(["p", "q"].as_slice()).prop_map(name), publication(), 0..2),
    )
        .prop_map(|(presence, owner, connection_limit, is_template, comment, schemas, publications)| {
            let mut database = desired::Database {
                presence,
                owner,
                connection_limit,
                is_template,
                comment,
                ..desired::Database::default()
            };
            database.inside.publications = publications;
            schemas.into_iter().fold(database, |database, (name, schema)| database.schema(name, schema))
        })
}

fn grant() -> impl Strategy<Value = Grant> {
    let on = prop_oneof![
        database().prop_map(Object::Database),
        Just(Object::Tablespace(name("pg_default"))),
        Just(Object::Parameter(Setting::new("work_mem").expect("a name"))),
        database().prop_map(|place| Object::Inside(place, Local::Schema(name("public")))),
        database().prop_map(|place| Object::Inside(place, Local::Table(name("public"), name("t")))),
        database().prop_map(|place| Object::Inside(place, Local::Language(name("plpgsql")))),
    ];
    let to = prop_oneof![1 => Just(Grantee::Public), 4 => role().prop_map(Grantee::Role)];
    (on, to, any::<bool>()).prop_flat_map(|(on, to, grantable)| {
        let grantable = grantable && to != Grantee::Public;
        let set = prop_oneof![
            1 => Just(PrivilegeSet::All),
            4 => privileges(on.kind()).prop_map(PrivilegeSet::Only)
        ];
        set.prop_map(move |privileges| Grant {
            to: to.clone(),
            on: GrantTarget::One(on.clone()),
            privileges,
            grantable,
        })
    })
}

fn default_grant() -> impl Strategy<Value = DefaultGrant> {
    let kind = prop::sample::select(
        [DefaultKind::Tables, DefaultKind::Routines, DefaultKind::Types, DefaultKind::Sequences].as_slice(),
    );
    let to = prop_oneof![1 => Just(Grantee::Public), 4 => role().prop_map(Grantee::Role)];
    (database(), role(), option::of(Just(name("public"))), kind, to, any::<bool>()).prop_flat_map(
        |(database, creator, schema, kind, to, grantable)| {
            let grantable = grantable && to != Grantee::Public;
            privileges(kind.object()).prop_map(move |set| DefaultGrant {
                database: database.clone(),
                creator: creator.clone(),
                schema: schema.clone(),
                kind,
                to: to.clone(),
                privileges: PrivilegeSet::Only(set),
                grantable,
            })
        },
    )
}

/// A wish that is valid in itself: what is not is taken out.
fn wish() -> impl Strategy<Value = DesiredState> {
    let membership = (option::of(any::<bool>()), option::of(any::<bool>()), option::of(any::<bool>()), 0..6)
        .prop_map(|(admin, inherit, set, chance)| Membership {
            presence: if chance == 0 { Presence::Absent } else { Presence::Present },
            admin,
            inherit,
            set,
        });
    let setting = (
        option::of(role()),
        option::of(database()),
        prop::sample::select(["work_mem", "search_path", "app.tenant"].as_slice()),
        option::of(comment()),
    );
    (
        btree_map(role(), wanted_role(), 0..6),
        btree_map(database(), wanted_database(), 0..4),
        btree_map((role(), role()), membership, 0..6),
        vec(grant(), 0..6),
        vec(default_grant(), 0..4),
        vec(setting, 0..4),
    )
        .prop_map(|(roles, databases, memberships, grants, defaults, settings)| {
            let mut wish =
                DesiredState { roles, databases, memberships, grants, defaults, ..DesiredState::default() };
            for (role, database, setting, value) in settings {
                wish.setting(role, database, Setting::new(setting).expect("a name"), value);
            }
            for role in ROLES {
                wish.external(name(role));
            }
            valid(wish)
        })
}

fn valid(mut wish: DesiredState) -> DesiredState {
    for _ in 0..100 {
        let invalid = wish.validate();
        let Some(first) = invalid.first() else { return wish };
        use desired::Subject as S;
        match &first.subject {
            S::Role(name) => drop(wish.roles.remove(name)),
            S::Database(name) => drop(wish.databases.remove(name)),
            S::Membership(role, member) => drop(wish.memberships.remove(&(role.clone(), member.clone()))),
            S::Grant(index) => drop(wish.grants.remove(*index)),
            S::Default(index) => drop(wish.defaults.remove(*index)),
            S::Schema(database, schema) => {
                wish.databases.get_mut(database).map(|database| database.inside.schemas.remove(schema));
            }
            S::Setting(role, database, setting) => {
                let key = SettingKey { role: role.clone(), database: database.clone() };
                wish.settings.get_mut(&key).map(|settings| settings.remove(setting));
            }
            S::Publication(database, publication) => drop(
                wish.databases
                    .get_mut(database)
                    .map(|database| database.inside.publications.remove(publication)),
            ),
            S::Extension(..) | S::EventTrigger(..) => unreachable!("none are wished for"),
        }
    }
    panic!("still invalid: {:?}", wish.validate());
}

#[test]
fn names_with_a_line_end_are_blocked_from_19_on() {
    let mut wish = DesiredState::new();
    wish.role(name("a\nb"), pg_ensure::Role::new()).role(name("good"), pg_ensure::Role::new());
    wish.database(name("c\r"), desired::Database::new());
    for (major, blocked) in [(18, 0), (19, 2)] {
        let plan = diff(&empty(major), &wish, &Consent::none());
        assert_eq!(plan.blocked.len(), blocked, "{major}: {:?}", plan.blocked);
        // The rest is done.
        assert_eq!(plan.steps.len(), 3 - blocked, "{major}: {}", plan.script());
        for held in &plan.blocked {
            assert!(matches!(held.why, pg_ensure::Obstacle::Refused(_)), "{held}");
            let said = held.to_string();
            assert!(said.contains("from PostgreSQL 19 on: rename it"), "{said}");
            assert!(["\"a\\nb\"", "\"c\\r\""].iter().any(|name| said.contains(name)), "{said}");
        }
    }
}

/// An empty cluster of a version.
fn empty(major: u32) -> CurrentState {
    let version = Version::major_version(major);
    let postgres = name("postgres");
    let all = pg_ensure::current::RoleState {
        superuser: true,
        createdb: true,
        createrole: true,
        login: true,
        replication: true,
        bypassrls: true,
        ..Default::default()
    };
    let database = |template: bool| pg_ensure::current::DatabaseState {
        is_template: template,
        ..pg_ensure::current::DatabaseState::plain(&postgres, version)
    };
    let mut template = database(true);
    // What is made from it has a table to grant on.
    let mut contents = Contents::fresh(&postgres, version);
    let table = Owned::new(ObjectKind::Table, &postgres, version);
    contents.objects.insert(Local::Table(name("public"), name("t")), table);
    template.contents = Some(contents);
    let session = Session {
        user: postgres.clone(),
        bootstrap: postgres.clone(),
        database: postgres.clone(),
        in_recovery: false,
        reads_passwords: true,
        self_grant: (false, false),
    };
    let mut current = CurrentState::new(version, session, DEFAULT_ITERATIONS);
    current.roles = [(postgres.clone(), all), (name("pg_database_owner"), Default::default())].into();
    current.databases = [(postgres.clone(), database(false)), (name("template1"), template)].into();
    current.tablespaces =
        [(name("pg_default"), Owned::new(ObjectKind::Tablespace, &postgres, version))].into();
    current
}

fn everything() -> Consent {
    let mut consent = Consent::none();
    for role in ROLES {
        consent = consent.destroying(DestructibleObject::Role(name(role)));
    }
    for database in DATABASES {
        consent = consent.destroying(DestructibleObject::Database(name(database)));
        for schema in ["public", "s", "t"] {
            consent = consent.destroying(DestructibleObject::Schema(name(database), name(schema)));
        }
        for publication in ["p", "q"] {
            consent = consent.destroying(DestructibleObject::Publication(name(database), name(publication)));
        }
    }
    consent
}

fn make(mut state: CurrentState, wish: &DesiredState, consent: &Consent) -> (CurrentState, pg_ensure::Plan) {
    let plan = diff(&state, wish, consent);
    for step in &plan.steps {
        model::change(&mut state, &step.change)
            .unwrap_or_else(|why| panic!("{:?}: {why}\n{}", step.change, plan.script()));
    }
    (state, plan)
}

/// A cluster that was made by wishes, with all of its roles.
fn cluster() -> impl Strategy<Value = CurrentState> {
    (prop::sample::select([13u32, 14, 15, 16, 17, 18].as_slice()), vec(wish(), 0..3)).prop_map(
        |(major, wishes)| {
            let mut state = empty(major);
            for role in ROLES {
                state.roles.insert(name(role), Default::default());
            }
            for wish in wishes {
                state = make(state, &wish, &Consent::none()).0;
            }
            state
        },
    )
}

/// What was wished for is there: looked at field by field, without the planner.
fn satisfied(state: &CurrentState, wish: &DesiredState, blocked: bool) {
    for (name, wanted) in &wish.roles {
        let Some(found) = state.roles.get(name) else {
            assert!(wanted.presence == Presence::Absent || blocked, "{name}");
            continue;
        };
        if wanted.presence == Presence::Absent {
            assert!(blocked, "{name} is still there");
            continue;
        }
        for (wanted, found) in [
            (wanted.superuser, found.superuser),
            (wanted.createdb, found.createdb),
            (wanted.createrole, found.createrole),
            (wanted.inherit, found.inherit),
            (wanted.login, found.login),
            (wanted.replication, found.replication),
            (wanted.bypassrls, found.bypassrls),
        ] {
            assert!(wanted.is_none_or(|wanted| wanted == found));
        }
        assert!(wanted.connection_limit.is_none_or(|limit| limit == found.connection_limit));
        assert!(wanted.valid_until.is_none_or(|until| until == found.valid_until));
        if let Some(comment) = &wanted.comment {
            assert_eq!(found.comment.as_ref().map_or("", Text::as_str), comment.as_str());
        }
        match &wanted.password {
            None => {}
            Some(Password::None) => assert_eq!(found.password, StoredPassword::None),
            Some(_) => assert!(matches!(found.password, StoredPassword::Right(_))),
        }
    }
    if blocked {
        return;
    }
    for (name, wanted) in &wish.databases {
        let found = state.databases.get(name);
        assert_eq!(found.is_some(), wanted.presence == Presence::Present, "{name}");
        let Some(found) = found else { continue };
        assert!(wanted.owner.as_ref().is_none_or(|owner| *owner == found.owned.owner));
        assert!(wanted.connection_limit.is_none_or(|limit| limit == found.connection_limit));
        for (publication, wanted) in &wanted.inside.publications {
            let contents = found.contents.as_ref().expect("it was looked into");
            let Some(found) = contents.publications.get(publication) else {
                assert!(wanted.presence == Presence::Absent || blocked, "{publication}");
                continue;
            };
            if blocked {
                continue;
            }
            assert_eq!(wanted.presence, Presence::Present);
            assert!(wanted.owner.as_ref().is_none_or(|owner| *owner == found.owner));
            assert!(wanted.all_tables.is_none_or(|all| all == found.all_tables));
            assert!(wanted.tables.as_ref().is_none_or(|tables| *tables == found.tables));
            assert!(wanted.publish.as_ref().is_none_or(|publish| *publish == found.publish));
        }
        for (schema, wanted) in &wanted.inside.schemas {
            let contents = found.contents.as_ref().expect("it was looked into");
            assert_eq!(contents.schemas.contains_key(schema), wanted.presence == Presence::Present);
        }
    }
    for ((role, member), wanted) in &wish.memberships {
        let rows: Vec<_> = state.members(role).filter(|(key, _)| key.member == *member).collect();
        assert_eq!(rows.is_empty(), wanted.presence == Presence::Absent);
        if wanted.presence == Presence::Present {
            let any = |which: fn(&MembershipOptions) -> bool| rows.iter().any(|(_, options)| which(options));
            assert!(wanted.admin.is_none_or(|admin| admin == any(|row| row.admin)));
            if state.version.membership_options() {
                assert!(wanted.inherit.is_none_or(|inherit| inherit == any(|row| row.inherit)));
                assert!(wanted.set.is_none_or(|set| set == any(|row| row.set)));
            }
        }
    }
    for grant in &wish.grants {
        let GrantTarget::One(Object::Database(database)) = &grant.on else { continue };
        let Some(found) = state.databases.get(database) else { continue };
        let held = found.owned.acl.privileges_of(&grant.to);
        assert_eq!(held.privileges, grant.privileges.expand(ObjectKind::Database, state.version));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Planning for the state that a cluster is in plans nothing.
    #[test]
    fn a_state_imported_is_satisfied(state in cluster()) {
        let wish = import(&state);
        prop_assert_eq!(wish.validate(), vec![]);
        let plan = diff(&state, &wish, &Consent::none());
        prop_assert!(plan.is_empty(), "{}{:?}", plan.script(), plan.blocked);
    }

    /// Making a plan's steps leads to what was wished for, and then nothing is left to plan.
    #[test]
    fn a_plan_leads_to_the_wish(state in cluster(), wish in wish()) {
        let (mut after, mut plan) = make(state, &wish, &everything());
        // What stood in the way may have gone in the same run.
        for _ in 0..2 {
            if !plan.blocked.is_empty() {
                (after, plan) = make(after, &wish, &everything());
            }
        }
        let again = diff(&after, &wish, &everything());
        prop_assert!(again.steps.is_empty(), "first:\n{}\nthen:\n{}", plan.script(), again.script());
        satisfied(&after, &wish, !again.blocked.is_empty());
    }

    /// A database whose contents go along with its owner gets the new owner with its contents, or is blocked and keeps
    /// both; whoever owns the other databases before and after.
    #[test]
    fn owners_change_with_the_contents_or_not_at_all(
        databases in vec((0usize..4, 0usize..4, 0usize..4, any::<bool>()), 4)
    ) {
        let mut state = empty(18);
        state.roles.extend(ROLES[..4].iter().map(|role| (name(role), Default::default())));
        let table = Local::Table(name("public"), name("t"));
        let mut wish = DesiredState::new();
        ROLES[..4].iter().for_each(|role| { wish.external(name(role)); });
        let all: Vec<(Name, &str, &str, &str, bool)> = ["w", "x", "y", "z z"]
            .iter()
            .zip(databases)
            .map(|(one, (owner, inside, wanted, reassign))| (name(one), ROLES[owner], ROLES[inside], ROLES[wanted], reassign))
            .collect();
        for (database, owner, inside, wanted, reassign) in &all {
            let mut found = pg_ensure::current::DatabaseState::plain(&name(owner), state.version);
            let mut contents = Contents::fresh(&name("postgres"), state.version);
            contents.objects.insert(table.clone(), Owned::new(ObjectKind::Table, &name(inside), state.version));
            found.contents = Some(contents);
            state.databases.insert(database.clone(), found);
            let mut declared = desired::Database::owned_by(&name(wanted));
            declared.reassign_owned = *reassign;
            wish.database(database.clone(), declared);
        }
        let (after, plan) = make(state, &wish, &Consent::none());
        for (database, owner, inside, wanted, reassign) in all {
            let found = &after.databases[&database];
            let what = format!("ALTER DATABASE {} OWNER TO {}", database.quoted(), name(wanted).quoted());
            let blocked = plan.blocked.iter().any(|blocked| blocked.what == what);
            let with = reassign && inside == owner;
            prop_assert!(!blocked || with, "{what}: {:?}", plan.blocked);
            let expected = if blocked { (owner, inside) } else { (wanted, if with { wanted } else { inside }) };
            let table = &found.contents.as_ref().expect("inspected").objects[&table];
            prop_assert_eq!(
                (found.owned.owner.as_str(), table.owner.as_str()), expected, "{}: {}{:?}", what, plan.script(), plan.blocked
            );
        }
        prop_assert!(plan.blocked.iter().all(|blocked| !blocked.what.starts_with("REASSIGN")), "{:?}", plan.blocked);
    }

    /// Nothing that was not spoken of changes.
    #[test]
    fn what_is_not_spoken_of_stays(state in cluster(), wish in wish()) {
        let (after, _) = make(state.clone(), &wish, &Consent::none());
        for (name, role) in &state.roles {
            if !wish.roles.contains_key(name) {
                prop_assert_eq!(Some(role), after.roles.get(name));
            }
        }
        for (key, options) in &state.memberships {
            if !wish.memberships.keys().any(|(role, _)| *role == key.role) {
                prop_assert_eq!(Some(options), after.memberships.get(key));
            }
        }
        for (name, database) in &state.databases {
            let spoken = wish.databases.contains_key(name)
                || wish.looks_into().contains(name)
                || wish.grants.iter().any(|grant| grant.on == GrantTarget::One(Object::Database(name.clone())));
            if !spoken {
                prop_assert_eq!(Some(database), after.databases.get(name));
            }
        }
        // Nothing is ever destroyed without consent.
        prop_assert!(state.roles.keys().all(|name| after.roles.contains_key(name)));
        prop_assert!(state.databases.keys().all(|name| after.databases.contains_key(name)));
    }

    /// A plan is minimal: without any one of its steps the wish is not fulfilled.
    #[test]
    fn every_step_is_needed(state in cluster(), wish in wish(), which in any::<prop::sample::Index>()) {
        let plan = diff(&state, &wish, &everything());
        prop_assume!(!plan.steps.is_empty());
        let left_out = which.index(plan.steps.len());
        // With a role its memberships go as well.
        let revokes = matches!(plan.steps[left_out].change, pg_ensure::Change::Membership(MembershipChange::Revoke { .. }));
        prop_assume!(!(revokes && wish.absent_roles().next().is_some()));
        let mut without = state;
        for (index, step) in plan.steps.iter().enumerate() {
            if index != left_out && model::change(&mut without, &step.change).is_err() {
                // A later step needs it.
                return Ok(());
            }
        }
        let rest = diff(&without, &wish, &everything());
        prop_assert!(!rest.steps.is_empty(), "{:?} changes nothing", plan.steps[left_out].change);
    }

    /// A run of a session that is no superuser plans only what it may, and comes to an end.
    #[test]
    fn a_session_without_powers_plans_what_it_may(
        state in cluster(), wish in wish(), createdb in any::<bool>(), createrole in any::<bool>()
    ) {
        let mut state = state;
        let user = name("a");
        let role = state.roles.get_mut(&user).expect("there");
        (role.superuser, role.createdb, role.createrole) = (false, createdb, createrole);
        state.session.user = user.clone();
        state.session.reads_passwords = false;
        let (after, plan) = make(state, &wish, &everything());
        let creates = plan.steps.iter().any(|step| matches!(step.change, pg_ensure::Change::Role(RoleChange::Create { .. })));
        prop_assert!(createrole || !creates);
        // What it has got by one round may allow more in the next, and then it ends.
        let mut after = after;
        for _ in 0..3 {
            after = make(after, &wish, &everything()).0;
        }
        let last = diff(&after, &wish, &everything());
        prop_assert!(last.steps.is_empty(), "first:\n{}\nlast:\n{}", plan.script(), last.script());
    }

    /// Access control lists survive being written and read.
    #[test]
    fn aclitems_round_trip(entries in vec((option::of("\\PC{1,12}"), "\\PC{1,12}", 1u16..512), 0..5)) {
        let mut acl = Acl::default();
        for (grantee, grantor, bits) in entries {
            let to = grantee.map_or(Grantee::Public, |text| Grantee::Role(name(&text.chars().take(9).collect::<String>())));
            let set: Privileges = Privilege::ALL.into_iter().enumerate()
                .filter(|(at, _)| bits & (1 << (at % 9)) != 0).map(|(_, privilege)| privilege).collect();
            let by = name(&grantor.chars().take(9).collect::<String>());
            acl.grant(&to, &by, set, if bits % 3 == 0 { set } else { Privileges::NONE });
        }
        prop_assert_eq!(Acl::parse(&acl.items()), Ok(acl));
    }

    /// Identifiers and literals come back from a lexer that was written by itself.
    #[test]
    fn quoting_round_trips(text in "[^\\x00]{0,20}") {
        let literal = Text::new(&text).expect("no NUL").quoted();
        prop_assert_eq!(lex(&format!("x{literal};")), Some((Token::Literal(text.clone()), ";".to_owned())));
        if !text.is_empty() && text.len() <= 63 {
            let identifier = Name::new(&text).expect("a name").quoted();
            prop_assert_eq!(lex(&format!("x{identifier};")), Some((Token::Identifier(text), ";".to_owned())));
        }
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Identifier(String),
    Literal(String),
}

/// The token after one letter, and the rest: sections 4.1.1 and 4.1.2 of PostgreSQL's manual, whatever
/// `standard_conforming_strings` says (a literal with a backslash must be an escape string).
fn lex(sql: &str) -> Option<(Token, String)> {
    let rest = sql.strip_prefix('x')?;
    let (escaped, rest) = match rest.strip_prefix(" E") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let mut chars = rest.chars().peekable();
    let quote = chars.next()?;
    let mut out = String::new();
    while let Some(c) = chars.next() {
        if c == quote {
            if chars.next_if_eq(&quote).is_some() {
                out.push(quote);
                continue;
            }
            let token = match quote {
                '"' if !escaped => Token::Identifier(out),
                '\'' => Token::Literal(out),
                _ => return None,
            };
            return Some((token, chars.collect()));
        }
        if c == '\\' && quote == '\'' {
            if !escaped {
                return None;
            }
            let next = chars.next()?;
            if next != '\\' {
                return None;
            }
            out.push('\\');
            continue;
        }
        out.push(c);
    }
    None
}

/// A plan for extensions knows what the server could install.
#[test]
fn extensions_that_the_server_lacks_are_named() {
    let mut state = empty(18);
    let available = pg_ensure::current::AvailableExtension {
        default: Some(text("1.1")),
        versions: [text("1.0"), text("1.1")].into(),
        trusted: true,
        schema: None,
    };
    state.available.insert(name("hstore"), available);
    let mut wish = DesiredState::new();
    let wants =
        |version: Option<&str>| desired::Extension { version: version.map(text), ..Default::default() };
    wish.database(
        name("x"),
        desired::Database::new()
            .extension(name("hstore"), wants(Some("1.0")))
            .extension(name("postgis"), wants(None)),
    );
    let (after, plan) = make(state, &wish, &Consent::none());
    assert_eq!(plan.blocked.len(), 1);
    assert!(plan.blocked[0].to_string().contains("install its package"), "{}", plan.blocked[0]);
    let inside = after.databases["x"].contents.as_ref().expect("it is new");
    let found = InstalledExtension { version: text("1.0"), schema: name("public"), owner: name("postgres") };
    assert_eq!(inside.extensions.get("hstore"), Some(&found));
}

/// A grant of another grantor is taken back as that grantor, with what depends on it.
#[test]
fn grants_of_others_are_revoked_as_they() {
    let mut state = empty(18);
    for role in ["a", "b", "c"] {
        state.roles.insert(name(role), Default::default());
    }
    let items = ["postgres=CTc/postgres", "a=c*/postgres", "b=c*/a", "c=c/b"];
    state.databases.get_mut("postgres").expect("there").owned.acl = Acl::parse(&items).expect("items");
    let mut wish = DesiredState::new();
    for role in ["a", "b", "c"] {
        wish.external(name(role));
    }
    let on = GrantTarget::One(Object::Database(name("postgres")));
    let none = PrivilegeSet::Only(Privileges::NONE);
    wish.grant(Grant { to: Grantee::Role(name("b")), on, privileges: none, grantable: false });
    let (after, plan) = make(state, &wish, &Consent::none());
    assert_eq!(plan.steps.len(), 1, "{}", plan.script());
    assert_eq!(plan.steps[0].change.acts_as(), Some(&name("a")));
    assert!(plan.script().contains("CASCADE"));
    let acl = &after.databases["postgres"].owned.acl;
    assert!(acl.privileges_of(&Grantee::Role(name("c"))).privileges.is_empty());
}
