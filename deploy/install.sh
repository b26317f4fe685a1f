#!/bin/sh
# Installs what Postrider's commands need and this machine lacks: a Postgres server, and for media ffmpeg,
# sox (AMR, which Debian's ffmpeg cannot write) and heif-convert (photos of iPhones, which it cannot read), and with
# the argument "test" also a C compiler, without which Go's race detector cannot be built, a Redis
# server, Chromium and fonts for the tests of web pages, and where it can be had without more ado libfaketime,
# which steps the clock of a Postgres. Quiet when everything is there. Installs only from the system's own package sources, and leaves no service behind.
set -eu

oldest_postgres=15 # internal/stack knows the same number

say() { printf '%s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

# The same places as in internal/stack/postgres_programs.go.
have_postgres() {
	in_path=$(command -v postgres 2>/dev/null || true)
	for folder in "${in_path%/*}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
		/opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
		[ -x "$folder/postgres" ] || continue
		[ -x "$folder/initdb" ] || continue
		version=$("$folder/postgres" --version 2>/dev/null | sed -n 's/.*(PostgreSQL) \([0-9]*\).*/\1/p')
		[ "${version:-0}" -ge "$oldest_postgres" ] && return 0
	done
	return 1
}

# The same places as in internal/chaos/clock_postgres.go.
have_faketime() {
	for library in /usr/lib/*/faketime/libfaketime.so.1 /usr/lib64/faketime/libfaketime.so.1 /usr/lib/faketime/libfaketime.so.1; do
		[ ! -e "$library" ] || return 0
	done
	return 1
}

# Debian has AMR in a package of its own beside sox.
have_sox() { have sox && sox --help 2>/dev/null | grep -q 'amr-nb'; }

# The same places as in internal/pages/browser/browser.go.
have_chromium() {
	for program in chromium chromium-browser google-chrome google-chrome-stable \
		'/Applications/Chromium.app/Contents/MacOS/Chromium' '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'; do
		! have "$program" || return 0
	done
	return 1
}

# What pictures of pages are drawn with: Latin and Arabic, Chinese and Japanese, emoji. A Mac has its own.
have_fonts() {
	[ "$(uname -s)" != Darwin ] || return 0
	have_font DejaVuSans.ttf && have_font DroidSansFallbackFull.ttf && have_font NotoColorEmoji.ttf
}
have_font() { [ -n "$(find /usr/share/fonts -name "$1" 2>/dev/null)" ]; }

missing=''
# Somebody else's server needs none here, except for the tests, which start their own.
if [ -z "${POSTGRES_HOST:-}" ] || [ "${1:-}" = test ]; then
	have_postgres || missing="$missing postgres"
fi
have ffmpeg && have ffprobe || missing="$missing ffmpeg"
# Postrider runs without these two, and says what it refuses because of it: they are no reason to fail
# where nothing can be installed. The tests need them.
if [ "${1:-}" = test ] || { have apt-get && { [ "$(id -u)" -eq 0 ] || have sudo; }; }; then
	have_sox || missing="$missing sox"
	have heif-convert || missing="$missing heif"
fi
if [ "${1:-}" = test ]; then
	cc=$(go env CC 2>/dev/null || echo cc)
	have "${cc%% *}" || missing="$missing cc"
	have redis-server || have redis-check-rdb || missing="$missing redis"
	have_chromium || missing="$missing chromium"
	# Without them pictures have boxes instead of letters: it is no reason to fail.
	if have apt-get && { [ "$(id -u)" -eq 0 ] || have sudo; }; then
		have_fonts || missing="$missing fonts"
	fi
	# Without it the tests and `make chaos` leave out what needs it, and say so: it is no reason to fail.
	if have apt-get && { [ "$(id -u)" -eq 0 ] || have sudo; }; then
		have_faketime || missing="$missing faketime"
	fi
fi
[ -n "$missing" ] || exit 0

wants() { case "$missing " in *" $1 "*) true ;; *) false ;; esac; }

by_hand() {
	say "Postrider needs, and this machine lacks:"
	if wants postgres; then say "  - a Postgres server, version $oldest_postgres or newer (initdb and postgres; it need not run)"; fi
	if wants ffmpeg; then say "  - ffmpeg and ffprobe"; fi
	if wants sox; then say "  - sox with its AMR format (libsox-fmt-base at Debian)"; fi
	if wants heif; then say "  - heif-convert, of libheif (libheif-examples at Debian)"; fi
	if wants cc; then say "  - a C compiler, for the tests under the race detector"; fi
	if wants redis; then say "  - a Redis server, for the tests (it need not run)"; fi
	if wants chromium; then say "  - Chromium or Google Chrome, for the tests of web pages"; fi
	if wants fonts; then say "  - fonts for pictures of web pages (DejaVu, Droid Fallback, Noto Color Emoji)"; fi
	if wants faketime; then say "  - libfaketime, for the tests that step the clock of Postgres"; fi
}

if [ "$(uname -s)" = Darwin ]; then
	by_hand
	brew=''
	if wants postgres; then brew="$brew postgresql@17"; fi
	if wants ffmpeg; then brew="$brew ffmpeg"; fi
	if wants sox; then brew="$brew sox"; fi
	if wants heif; then brew="$brew libheif"; fi
	if wants redis; then brew="$brew redis"; fi
	if wants chromium; then brew="$brew google-chrome"; fi
	[ -z "$brew" ] || say "Install with:  brew install$brew"
	if wants cc; then say "Install with:  xcode-select --install"; fi
	exit 1
fi
if ! have apt-get; then
	by_hand
	say "Install these with the system's package manager, then run the command again."
	exit 1
fi

as_root=''
if [ "$(id -u)" -ne 0 ]; then
	if ! have sudo; then
		by_hand
		say "Installing them takes root: run deploy/install.sh as root once (here is no sudo)."
		exit 1
	fi
	as_root='sudo'
fi
# apt runs apt-get and shows what it says only if it fails. env, because sudo drops the caller's
# environment; no standard input, because nobody may be there to answer.
apt() {
	said=$(mktemp)
	if $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$said" 2>&1; then
		rm -f "$said"
	else
		tail -n 20 "$said"
		rm -f "$said"
		return 1
	fi
}

# newest_postgres prints the highest version the package sources offer, or nothing.
newest_postgres() {
	apt-cache search --names-only '^postgresql-[0-9]+$' | sed -n 's/^postgresql-\([0-9]*\) .*/\1/p' | sort -n | tail -n 1
}

# installable reports whether the package sources know all that is missing.
installable() {
	if wants postgres; then
		version=$(newest_postgres)
		[ "${version:-0}" -ge "$oldest_postgres" ] || return 1
	fi
	for package in $1; do
		apt-cache show "$package" >/dev/null 2>&1 || return 1
	done
}

packages=''
if wants ffmpeg; then packages="$packages ffmpeg"; fi
if wants sox; then packages="$packages sox libsox-fmt-base"; fi
if wants heif; then packages="$packages libheif-examples"; fi
if wants cc; then packages="$packages gcc libc6-dev"; fi
# Debian's redis-server is a service around a link to the program, which is in redis-tools: that is enough.
if wants redis; then packages="$packages redis-tools"; fi
if wants chromium; then packages="$packages chromium"; fi
if wants fonts; then packages="$packages fonts-dejavu-core fonts-droid-fallback fonts-noto-color-emoji"; fi
if wants faketime; then packages="$packages libfaketime"; fi

say "Postrider needs some packages that are missing here; installing them with ${as_root:+sudo }apt-get."
refreshed=''
if ! installable "$packages"; then # new machines and images come without lists
	say "  apt-get update"
	apt update
	refreshed=yes
fi
if wants postgres; then
	version=$(newest_postgres)
	if [ -z "$version" ]; then
		say "The package lists hold no Postgres, even after apt-get update: look at the network and at /etc/apt."
		exit 1
	fi
	if [ "$version" -lt "$oldest_postgres" ]; then
		say "This system offers Postgres $version; Postrider needs $oldest_postgres or newer."
		say "The Postgres project has packages for it. On Debian and Ubuntu they are added with"
		say "  ${as_root:+sudo }apt-get install -y postgresql-common && ${as_root:+sudo }/usr/share/postgresql-common/pgdg/apt.postgresql.org.sh"
		say "then run this again; or use a server elsewhere with POSTGRES_HOST. Nothing was installed."
		exit 1
	fi
	packages=" postgresql-$version$packages"
fi

# Debian's package makes a cluster and starts it, now and at each boot. Postrider has its own under .run,
# so the package is told not to, for this one installation.
no_cluster=/etc/postgresql-common/createcluster.d/postrider-install.conf
forget() { if wants postgres; then $as_root rm -f "$no_cluster"; $as_root rmdir "${no_cluster%/*}" 2>/dev/null || true; fi; }
if wants postgres; then
	trap forget EXIT
	trap 'exit 1' HUP INT TERM
	$as_root mkdir -p "${no_cluster%/*}"
	echo 'create_main_cluster = false' | $as_root tee "$no_cluster" >/dev/null
fi

install() {
	say "  apt-get install --no-install-recommends$packages"
	# shellcheck disable=SC2086 # a list
	apt install -y --no-install-recommends $packages
}
if ! install; then
	[ -z "$refreshed" ] || exit 1
	say "  apt-get update (the lists may be old)"
	apt update
	install
fi
say "Installed."
