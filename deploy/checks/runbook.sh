# What the runbook tells to type, typed.

check_runbook() { apart runbook; }

# Every command of the runbook, in its order, with the nodes in the state that its comments name.
inside_runbook() {
    inside
    local line in_block='' count=0
    while IFS= read -r line; do
        case $line in
        '<!-- check: '*)
            line=${line#<!-- check: }
            "state_${line% -->}"
            ;;
        '```sh') in_block=1 ;;
        '```') in_block='' ;;
        *)
            if [ -n "$in_block" ] && [ -n "$line" ]; then
                typed "$line"
                count=$((count + 1))
            fi
            ;;
        esac
    done <"$HERE/RUNBOOK.md"
    echo "told: $count commands"
}

# Runs a line as an operator would. It ends with 0, or as it says: `# ends with 3`, `# may end with 1`.
typed() {
    local code=0
    echo "\$ $1"
    bash -o pipefail -c "$1" </dev/null || code=$?
    case "$code $1" in
    *"# ends with $code" | *"# may end with $code") ;;
    *"# ends with "?) echo "ended with $code" && return 1 ;;
    "0 "*) ;;
    *) echo "ended with $code" && return 1 ;;
    esac
}
