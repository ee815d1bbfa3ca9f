# Lays out the machine that is booted: packages, configuration, a service behind the edge, an application with a database.
# Runs in its root, before the first boot.
set -eu
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
dpkg --install /srv/packages/*.deb > /srv/install.log 2>&1 || { cat /srv/install.log; exit 1; }
rm /usr/sbin/policy-rc.d
install -m 0644 /srv/edge.toml /etc/edge-proxyd/edge.toml
install -m 0600 /dev/null /etc/edge-proxyd/cloudflare-token
echo cloudflare-token > /etc/edge-proxyd/cloudflare-token
mkdir -p /etc/secrets /etc/systemd/system/edge-proxyd.service.d /etc/systemd/system/pg-ensure.service.d
cat > /etc/systemd/system/edge-proxyd.service.d/credentials.conf <<END
[Service]
LoadCredential=cloudflare:/etc/edge-proxyd/cloudflare-token
END
# Its secret comes later.
cat > /etc/systemd/system/pg-ensure.service.d/credentials.conf <<END
[Service]
LoadCredential=app-db:/etc/secrets/app-db
END
cat > /srv/manifest.toml <<END
[[ensure]]
name = "app"
password = "credential:app-db"
END
cp /srv/manifest.toml /etc/pg-ensure/pg-ensure.toml
chmod +x /srv/exec-provider
cat > /etc/systemd/system/origin.service <<END
[Service]
ExecStart=/usr/bin/python3 /srv/origin.py
[Install]
WantedBy=multi-user.target
END
cat > /etc/systemd/system/myapp.service <<END
[Unit]
Requires=pg-ensure.service
After=pg-ensure.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'PGPASSWORD=\$\$(cat /etc/secrets/app-db) psql -h 127.0.0.1 -U app app -c "select 1"'
[Install]
WantedBy=multi-user.target pg-ensure.service
END
# The same, which nothing but the boot starts: a later try of pg-ensure does not pull it in.
sed 's/^WantedBy=.*/WantedBy=multi-user.target/' /etc/systemd/system/myapp.service > /etc/systemd/system/myapp2.service
: > /etc/machine-id
systemctl enable origin.service myapp.service myapp2.service edge-proxyd.service pg-ensure.service > /dev/null 2>&1
systemctl mask systemd-networkd-wait-online.service > /dev/null 2>&1 || true
