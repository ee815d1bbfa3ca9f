# Lays out the machine of somebody who reads the book: a fresh Debian with PostgreSQL, Forgejo's account and file, and stand-ins
# for its services on the tailnet. None of the packages is installed; they lie where `cargo xtask dist` puts them.
set -eu
mkdir -p /home/reader/target /etc/forgejo
cp -r /srv/packages /home/reader/target/dist
(cd /home/reader/target/dist && sha256sum *.deb > SHA256SUMS)
# As root already.
cat > /usr/bin/sudo <<'END'
#!/bin/sh
if [ "$1" = -u ]; then user=$2; shift 2; exec runuser -u "$user" -- "$@"; fi
exec "$@"
END
chmod +x /usr/bin/sudo
useradd --system --create-home --home-dir /home/git git
cat > /etc/forgejo/app.ini <<'END'
RUN_USER = git

[server]
DOMAIN = git.example.org

[mailer]
ENABLED = false
END
chown root:git /etc/forgejo /etc/forgejo/app.ini
chmod 0770 /etc/forgejo
chmod 0640 /etc/forgejo/app.ini
cat > /etc/systemd/system/services.service <<'END'
[Service]
ExecStartPre=ip netns add node
ExecStartPre=ip link add tailscale0 type veth peer name far netns node
ExecStartPre=ip addr add 100.64.0.1/10 dev tailscale0
ExecStartPre=ip link set tailscale0 up
ExecStartPre=ip -n node addr add 100.64.0.2/10 dev far
ExecStartPre=ip -n node link set far up
ExecStart=ip netns exec node /usr/bin/python3 /srv/services.py
[Install]
WantedBy=multi-user.target
END
: > /etc/machine-id
systemctl enable services.service > /dev/null 2>&1
echo cloudflare-token > /srv/token
echo correct horse > /srv/database-password
