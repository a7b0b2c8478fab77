# SPDX-License-Identifier: BSD-3-Clause
# Completes the sub-commands and options of slirp-redirect.

_slirp_redirect_options()
{
    case $1 in
    run)
        echo --redirect --file --control --qemu --force --dry-run --verbose \
            --help
        ;;
    check) echo --net --net6 --help ;;
    explain) echo --rules --redirect --net --net6 --socket --json --help ;;
    list | stats) echo --socket --json --openmetrics --help ;;
    flows) echo --socket --json --help ;;
    add) echo --socket --before --help ;;
    watch) echo --socket --interval --count --help ;;
    del | replace | reload | flush | reopen-log) echo --socket --help ;;
    *) echo --help --version ;;
    esac
}

_slirp_redirect_commands="run check explain list add del replace reload flows
    flush stats watch reopen-log help"

# The IDs and names of the rules of the only instance, if there is one.
_slirp_redirect_rules()
{
    "${COMP_WORDS[0]}" list 2> /dev/null | while read -r id _ _ _ _ _ rule; do
        [[ $id == [0-9]* ]] && echo "$id"
        [[ $rule =~ \+name=([^+]+) ]] && echo "${BASH_REMATCH[1]}"
    done
}

# The index of PROGRAM in a `run` command line, or nothing before it.
_slirp_redirect_program()
{
    local i=2

    while ((i < COMP_CWORD)); do
        case ${COMP_WORDS[i]} in
        --redirect | --file | --control) ((i += 2)) ;;
        --)
            echo $((i + 1))
            return
            ;;
        -*) ((i += 1)) ;;
        *)
            echo $i
            return
            ;;
        esac
    done
}

_slirp_redirect()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]} program

    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen \
            -W "$_slirp_redirect_commands --help --version" -- "$word")
        return
    fi
    if [[ $command == run ]]; then
        program=$(_slirp_redirect_program)
        if [[ $program ]] && declare -F _command_offset > /dev/null &&
            ((program <= COMP_CWORD)); then
            _command_offset "$program"
            return
        fi
    fi
    case $before in
    --redirect | --net | --net6 | --interval | --count) return ;;
    --before)
        mapfile -t COMPREPLY < <(compgen \
            -W "$(_slirp_redirect_rules)" -- "$word")
        return
        ;;
    --file | --rules | --control | --socket)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen \
            -W "$(_slirp_redirect_options "$command")" -- "$word")
        return
    fi
    case $command in
    run) mapfile -t COMPREPLY < <(compgen -c -- "$word") ;;
    check | replace) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    help)
        mapfile -t COMPREPLY < <(compgen \
            -W "$_slirp_redirect_commands" -- "$word")
        ;;
    del | flush)
        mapfile -t COMPREPLY < <(compgen \
            -W "$(_slirp_redirect_rules)" -- "$word")
        ;;
    explain) mapfile -t COMPREPLY < <(compgen -W "tcp udp icmp from" -- "$word") ;;
    esac
}

complete -F _slirp_redirect slirp-redirect
