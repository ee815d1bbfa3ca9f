//! Files written after those that people have: of distributions, containers, operators, manuals and mistakes, each in the
//! ways in which they are spaced, quoted and commented.

/// The way in which a file is varied.
const WAYS: [fn(&str) -> String; 9] = [
    |text| text.to_owned(),
    |text| {
        text.lines()
            .map(|line| line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("\t") + "\n")
            .collect()
    },
    |text| text.replace('\n', "\r\n"),
    |text| text.replace(" md5", " scram-sha-256").replace(" trust", " md5"),
    |text| {
        text.lines()
            .map(|line| if line.ends_with('\\') { format!("{line}\n") } else { format!("  {line} # kept\n") })
            .collect()
    },
    |text| text.trim_end().to_owned(),
    |text| text.replace(" all ", " \"all\" ").replace("postgres ", "\"postgres\" "),
    |text| format!("# before\n\n{text}\n\n# after, with a \"quote\nhost all all 0.0.0.0/0 reject\n"),
    |text| text.replace("/32", " 255.255.255.255").replace("/16", " 255.255.0.0").replace(", ", ","),
];

/// Returns every file in every way that makes another file of it, each once.
pub(crate) fn files() -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let all = KINDS.iter().flat_map(|(_, text)| WAYS.iter().map(move |way| way(text)));
    all.filter(|text| seen.insert(text.clone())).collect()
}

/// The kind of a server, and its file.
const KINDS: &[(&str, &str)] = &[
    (
        "Debian's default",
        r#"# DO NOT DISABLE!
# Database administrative login by Unix domain socket
local   all             postgres                                peer

# TYPE  DATABASE        USER            ADDRESS                 METHOD

# "local" is for Unix domain socket connections only
local   all             all                                     peer
# IPv4 local connections:
host    all             all             127.0.0.1/32            scram-sha-256
# IPv6 local connections:
host    all             all             ::1/128                 scram-sha-256
local   replication     all                                     peer
host    replication     all             127.0.0.1/32            scram-sha-256
host    replication     all             ::1/128                 scram-sha-256
"#,
    ),
    (
        "initdb with trust",
        r#"local   all             all                                     trust
host    all             all             127.0.0.1/32            trust
host    all             all             ::1/128                 trust
local   replication     all                                     trust
host    replication     all             127.0.0.1/32            trust
host    replication     all             ::1/128                 trust
"#,
    ),
    (
        "a container image",
        r#"local all all trust
host all all 127.0.0.1/32 trust
host all all ::1/128 trust
local replication all trust

host all all all scram-sha-256
"#,
    ),
    (
        "an operator of replicas",
        r#"local   all             all                                   trust
host    all             all                127.0.0.1/32       md5
hostssl replication     standby all                md5
hostnossl all           all                all                reject
hostssl all             +zalandos          127.0.0.1/32       pam
hostssl all             +zalandos          all                pam
hostssl all             all                all                md5
"#,
    ),
    (
        "a replication manager",
        r#"host replication replicator 10.0.0.0/8 md5
host replication replicator 172.16.0.0/12 md5
host replication replicator 192.168.0.0/16 md5
host all all 0.0.0.0/0 md5
"#,
    ),
    (
        "certificates for replicas",
        r#"# Grant local access
local all all peer map=local
# Require client certificate authentication for the streaming_replica user
hostssl postgres streaming_replica all cert map=cnpg_streaming_replica
hostssl replication streaming_replica all cert map=cnpg_streaming_replica
hostssl all cnpg_pooler_pgbouncer all cert map=cnpg_pooler_pgbouncer
host all all all scram-sha-256
"#,
    ),
    (
        "a forge in one package",
        r#"local   all         all                               peer map=gitlab
host    all         all         127.0.0.1/32           trust
hostssl all         gitlab      10.1.0.0/16            md5
host    replication gitlab_replicator 10.1.2.3/32      md5
"#,
    ),
    (
        "a hosted database",
        r#"local all supabase_admin scram-sha-256
local all all peer map=supabase_map
host all all 127.0.0.1/32 trust
host all all ::1/128 trust
host all all 10.0.0.0/8 scram-sha-256
host all all 172.16.0.0/12 scram-sha-256
host all all 192.168.0.0/16 scram-sha-256
host all all 0.0.0.0/0 scram-sha-256
host all all ::0/0 scram-sha-256
"#,
    ),
    (
        "a chat server",
        r#"local all postgres peer
local zulip zulip peer
hostssl zulip zulip samenet scram-sha-256
host all all all reject
"#,
    ),
    (
        "an accounting suite",
        r#"local   all             postgres                                peer
local   all             odoo                                    md5
host    all             odoo            samehost                md5
host    odoo            odoo            app.internal.example.com scram-sha-256
"#,
    ),
    (
        "a data centre with Kerberos",
        r#"hostgssenc all all 10.20.0.0/16 gss include_realm=0 krb_realm=EXAMPLE.COM
hostnogssenc all all 10.20.0.0/16 reject
host all all 10.30.0.0/16 gss include_realm=1 map=krb
"#,
    ),
    (
        "a company's directory",
        r#"host all all 10.0.0.0/8 ldap ldapserver=ldap.example.com ldapprefix="uid=" ldapsuffix=",ou=people,dc=example,dc=com"
hostssl all +staff 0.0.0.0/0 ldap ldapserver=ldap1.example.com ldapport=636 ldapscheme=ldaps ldapbasedn="dc=example,dc=com" ldapsearchattribute=uid
hostssl app all 10.0.0.0/8 ldap ldapserver=ldap.example.com ldapbasedn="dc=example, dc=com" ldapsearchfilter="(|(uid=$username)(mail=$username))" ldaptls=1
"#,
    ),
    (
        "a network with RADIUS",
        r#"host all all 10.0.0.0/8 radius radiusservers=10.1.1.1 radiussecrets=secret
host all all 10.0.0.0/8 radius radiusservers="10.1.1.1,10.1.1.2" radiussecrets="one,two" radiusports="1812,1813" radiusidentifiers="a,b"
"#,
    ),
    (
        "clients with certificates",
        r#"hostssl all all 0.0.0.0/0 cert clientcert=verify-full
hostssl all all ::/0 scram-sha-256 clientcert=verify-ca
hostssl app web 10.0.0.0/8 cert map=web clientname=DN
"#,
    ),
    (
        "a list of hosts",
        r#"host app web web1.example.org scram-sha-256
host app web .cluster.local scram-sha-256
host all monitor prometheus.monitoring.svc.cluster.local md5
host "my db" "my user" 192.0.2.0/24 md5
"#,
    ),
    (
        "network masks",
        r#"host all all 10.0.0.0 255.0.0.0 md5
host all all 192.168.1.0   255.255.255.0   md5
host all all 2001:db8:: ffff:ffff:: md5
host all all 127.0.0.1 255.255.255.255 trust
"#,
    ),
    (
        "groups of names",
        r#"local sameuser all peer
local samerole all scram-sha-256
local app,app_test,"app dev" web,worker,+admins scram-sha-256
host template1,postgres all 10.0.0.0/8 reject
host all,replication backup 10.9.8.7/32 scram-sha-256
"#,
    ),
    (
        "a pooler",
        r#"local all pgbouncer trust
host all pgbouncer 127.0.0.1/32 trust
host pgbouncer stats 10.0.0.0/8 md5
host all all 127.0.0.1/32 md5
"#,
    ),
    (
        "backups",
        r#"local replication barman peer
hostssl replication streaming_barman 10.0.0.5/32 scram-sha-256
hostssl all barman 10.0.0.5/32 scram-sha-256
local all pgbackrest peer map=backup
"#,
    ),
    (
        "a school's lab",
        r#"local all all ident
host all all 10.1.0.0/16 ident map=lab
host all teacher 10.1.0.10/32 trust
host all all 0.0.0.0/0 reject
"#,
    ),
    (
        "patterns of 16",
        r#"local /^app_[a-z]+$ all peer
host "/^(dev|test)$" "/^team_\\d+$" 10.0.0.0/8 scram-sha-256
host all /@example\.org$ 10.0.0.0/8 scram-sha-256
"#,
    ),
    (
        "OAuth of 18",
        r#"hostssl all all 10.0.0.0/8 oauth issuer=https://id.example.org scope="openid email" map=oauth validator=v1
hostssl all all 10.0.0.0/8 oauth issuer="https://id.example.org" scope=openid delegate_ident_mapping=1 validator=v2
"#,
    ),
    (
        "a continued line",
        r#"host all \
  all \
  10.0.0.0/8 \
  scram-sha-256
local all all peer
"#,
    ),
    (
        "a careless edit",
        r#"local all all
host all all 10.0.0.0 md5
host all all 10.0.0.0/33 md5
hostt all all 10.0.0.0/8 md5
host all all 10.0.0.0/8 scram
"#,
    ),
    (
        "a copy from a manual",
        r#"host    all     all     192.168.12.10/32    gss
host    all     all     192.168.0.0/16      ident   map=omicron
local   db1,db2,@demodbs  all                md5
local   all     @admins,+support            md5
local   sameuser  all  md5
local   all  /^.*helpdesk$  md5
"#,
    ),
    (
        "a tailnet",
        r#"local all postgres peer
local all all peer
host all all 100.64.0.0/10 trust
host all all fd7a:115c:a1e0::/48 trust
host all all 0.0.0.0/0 reject
host all all ::/0 reject
"#,
    ),
    (
        "a home server",
        r#"local all all peer
host nextcloud nextcloud 172.18.0.0/16 scram-sha-256
host immich immich 172.19.0.0/16 scram-sha-256
host paperless paperless 172.20.0.0/16 md5
"#,
    ),
    (
        "a mail server",
        r#"local   mail    postfix   md5
local   mail    dovecot   md5
host    mail    mailuser  127.0.0.1/32  password
hostssl mail    webmail   10.0.0.20/32  scram-sha-256
"#,
    ),
    (
        "a geographic server",
        r#"local   all  all                    md5
host    gis  gis   0.0.0.0/0       md5
host    gis  "gis-reader"  ::/0    md5
host    all  all   127.0.0.1/8     md5
"#,
    ),
    (
        "logical replicas",
        r#"host all subscriber 10.0.1.0/24 scram-sha-256
hostssl "replication" subscriber 10.0.1.0/24 scram-sha-256
host replication subscriber 10.0.1.0/24 scram-sha-256
"#,
    ),
    (
        "a bare file",
        r#"local all all peer
"#,
    ),
    (
        "comments alone",
        r#"# TYPE  DATABASE  USER  ADDRESS  METHOD
# nothing yet
"#,
    ),
    (
        "PAM",
        r#"host all all 10.0.0.0/8 pam
host all all 10.0.0.0/8 pam pamservice=postgresql pam_use_hostname=1
local all all pam pamservice=login
"#,
    ),
    (
        "zones of addresses",
        r#"host all all fe80::/10 scram-sha-256
host all all fe80::1%lo/64 scram-sha-256
host all all fd00::/8 scram-sha-256
host all all ::ffff:10.0.0.0/104 scram-sha-256
"#,
    ),
    (
        "an inclusion",
        r#"include good.inc
include_if_exists missing.inc
include_dir folder
local all all peer
"#,
    ),
    (
        "Red Hat's default",
        r#"# TYPE  DATABASE        USER            ADDRESS                 METHOD

# "local" is for Unix domain socket connections only
local   all             all                                     peer
# IPv4 local connections:
host    all             all             127.0.0.1/32            ident
# IPv6 local connections:
host    all             all             ::1/128                 ident
# Allow replication connections from localhost, by a user with the
# replication privilege.
local   replication     all                                     peer
host    replication     all             127.0.0.1/32            ident
host    replication     all             ::1/128                 ident
"#,
    ),
    (
        "NixOS's default",
        r#"# Generated file; do not edit!
local all postgres         peer map=postgres
local all all              peer
host  all all 127.0.0.1/32 md5
host  all all ::1/128      md5
"#,
    ),
    (
        "a cluster of three with failover",
        r#"local   all             all                             peer
host    all             all             127.0.0.1/32    scram-sha-256
host    replication     replicator      192.168.56.11/32 md5
host    replication     replicator      192.168.56.12/32 md5
host    replication     replicator      192.168.56.13/32 md5
host    all             all             192.168.0.0/16  md5
host    postgres        rewind_user     192.168.56.0/24 md5
"#,
    ),
    (
        "a monitor that writes rules",
        r#"local all all trust
hostssl all "autoctl_node" 10.0.0.4/32 trust # Auto-generated by the monitor
hostssl replication "pgautofailover_replicator" 10.0.0.5/32 trust # Auto-generated by the monitor
hostssl "app", "postgres" "pgautofailover_replicator" 10.0.0.5/32 trust # Auto-generated by the monitor
hostssl replication "pgautofailover_replicator" node3.internal md5 # Auto-generated by the monitor
"#,
    ),
    (
        "a server of Windows",
        r#"host    all             all             127.0.0.1/32            sspi
host    all             all             ::1/128                 sspi
host    all             all             10.0.0.0/16             sspi include_realm=1 krb_realm=CORP map=sspi
host    replication     all             127.0.0.1/32            md5
"#,
    ),
    (
        "an analysts' warehouse",
        r#"local   all   etl                               peer map=etl
host    warehouse, staging   etl   10.40.0.0/16   md5
hostssl warehouse   +analysts   203.0.113.0/24   md5   clientcert=verify-ca
hostssl warehouse   dashboards   198.51.100.17/32   scram-sha-256
host    all   all   0.0.0.0/0   reject
"#,
    ),
    (
        "exporters of metrics",
        r#"local all postgres_exporter peer map=exporter
host  postgres postgres_exporter 127.0.0.1/32 trust
host  all      datadog           127.0.0.1/32 md5
host  all      zabbix            172.31.0.0/16 md5
hostnossl all  all               0.0.0.0/0    reject
"#,
    ),
    (
        "containers of one machine",
        r#"local   all   postgres   trust
host    all   postgres   127.0.0.1/32   trust
host    synapse, mas   synapse   172.16.0.0/16   md5
host    grafana   grafana   172.17.0.1/32   md5
host    keycloak   "keycloak-user"   172.19.0.0/16   md5
"#,
    ),
    (
        "a developer's laptop",
        r#"# Everything on this machine.
local   all   all   trust
host    all   all   localhost   trust
host    all   all   127.0.0.1/32   trust
host    all   postgres   192.168.1.0/24   md5   # the phone
"#,
    ),
];
