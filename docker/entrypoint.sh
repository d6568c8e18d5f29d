#!/bin/sh
# Takes secrets from files, then runs nightreel; `first-list` makes the first list of a home that has none.
set -eu

# NAME_FILE=/run/secrets/x gives NAME the file's content; libpq takes a password from PGPASSWORD.
for name in NIGHTREEL_DATABASE_URL NIGHTREEL_SCHEDULE_ON_FAILURE NIGHTREEL_BROWSE_PASSWORD PGPASSWORD; do
    eval "file=\${${name}_FILE:-}"
    if [ -n "$file" ]; then
        value=$(cat "$file")
        export "$name=$value"
        unset "${name}_FILE"
    fi
done

feature_repo() {
    python -c 'import feature_repo; print(next(iter(feature_repo.__path__)))'
}

case "${1:-}" in
    first-list)
        if [ -f "$NIGHTREEL_HOME/data/models/champion.json" ]; then
            exec nightreel score
        fi
        # Without a folder of the user's own, a demo on synthetic data; never into a folder that is theirs.
        if [ -z "${RAW_DIR_ON_HOST:-}" ] && [ ! -f "$NIGHTREEL_DATA_RAW_DIR/big_matrix.csv" ]; then
            nightreel synthesize --users "${DEMO_USERS:-800}" --videos "${DEMO_VIDEOS:-1600}" \
                --interactions "${DEMO_INTERACTIONS:-250000}"
        fi
        exec nightreel run
        ;;
    feast)
        shift
        cd "$(feature_repo)"
        exec feast "$@"
        ;;
    *)
        exec nightreel "$@"
        ;;
esac
