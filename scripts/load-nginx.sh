# What the checks of `headwater load` against nginx share; they source it. Bash. HEADWATER names another
# binary than target/release/headwater.

HEADWATER=${HEADWATER:-target/release/headwater}
nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || nginx=

# take_options CLIENTS ARGUMENTS...: takes --seconds, --keep and --CLIENTS off the arguments, into
# `seconds`, `keep` and `clients`.
take_options() {
  local flag=--$1
  shift
  keep=
  while (($#)); do
    case $1 in
      -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
      --seconds) seconds=${2:?--seconds needs a number}; shift ;;
      --keep) keep=${2:?--keep needs a folder}; shift ;;
      "$flag") clients=${2:?$flag needs a number}; shift ;;
      *) echo "$0: unknown argument $1; see --help" >&2; exit 2 ;;
    esac
    shift
  done
}

# need PACKAGES [FILE]: ends the script where nginx, that file or the program is missing.
need() {
  [[ -n $nginx && -e ${2:-/} ]] || {
    echo "$0: nginx is missing, or a module of it; .ci/run installs it, or: apt-get install $1" >&2
    exit 1
  }
  [[ -x $HEADWATER ]] || {
    echo "$0: $HEADWATER is not there; build it with: cargo build --release" >&2
    exit 1
  }
}

finish() {
  if [[ -n $server ]]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  if [[ -n $keep ]]; then mkdir -p "$keep" && cp "$work"/*.json "$work"/*.txt "$work"/error.log "$keep" || true; fi
  rm -rf -- "$work"
}

# start_nginx MAIN SERVER: runs nginx with these lines in its main and its server context, on a free
# port of loopback (`at`), in a folder of its own (`work`, with `work/www` to serve), which the end of
# the script removes. Its process is `server`.
start_nginx() {
  local port
  server=
  work=$(mktemp -d "${TMPDIR:-/tmp}/headwater-load-XXXXXX")
  trap finish EXIT
  trap 'exit 1' INT TERM
  mkdir "$work/www"
  chmod 755 "$work" "$work/www"
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  at=127.0.0.1:$port
  cat >"$work/nginx.conf" <<EOF
$1
worker_processes 1;
worker_rlimit_nofile 65536;
daemon off;
pid $work/nginx.pid;
error_log $work/error.log;
events { worker_connections 32768; }
http {
  access_log off;
  sendfile on;
  client_body_temp_path $work/body;
  proxy_temp_path $work/proxy;
  fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi;
  scgi_temp_path $work/scgi;
  keepalive_requests 1000000000;
  server {
    listen $at backlog=4096;
    root $work/www;
    $2
  }
}
EOF
  "$nginx" -e "$work/error.log" -c "$work/nginx.conf" &
  server=$!
  for ((i = 0; i < 100; i++)); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
  done
  cat "$work/error.log" >&2
  exit 1
}
