#!/bin/sh
# Creates a tracker, an agent and one bead in the current folder, as docs/quickstart.md does.
# DOLT_HOST and DOLT_PORT name the server.
set -eu

if [ ! -d .beads ]; then
  git init --quiet .
  bd init --server --external --server-host "$DOLT_HOST" --server-port "$DOLT_PORT" --server-user root \
    --database quickstart --prefix bd --non-interactive --role maintainer --skip-hooks --skip-agents --quiet
fi

if [ ! -f dolt_watch.toml ]; then
  cat > agent.sh <<'EOF'
#!/bin/sh
bd note "$BEAD_ID" "claimed by agent"
echo "Hello!" > hello.txt
bd close "$BEAD_ID" --reason "hello.txt contains a greeting"
EOF
  cat > dolt_watch.toml <<'EOF'
[rules.agent]
target = "local"

[targets.local]
argv = ["sh", "agent.sh"]
# bd finds the server in .beads/ and needs these variables of the container.
env = ["BEADS_DOLT_SERVER_TLS", "BEADS_DOLT_AUTO_START"]
EOF
  dolt_watch init
  bd create "Say hello" --acceptance "hello.txt contains a greeting" --assignee agent
fi
