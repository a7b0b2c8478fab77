# SPDX-License-Identifier: BSD-3-Clause
# Completes the sub-commands and options of slirp-redirect.

_slirp_redirect_options()
{
    case $1 in
    run) echo --redirect --file --qemu --force --dry-run --verbose --help ;;
    check) echo --net --net6 --help ;;
    explain) echo --rules --redirect --net --net6 --help ;;
    *) echo --help --version ;;
    esac
}

# The index of PROGRAM in a `run` command line, or nothing before it.
_slirp_redirect_program()
{
    local i=2

    while ((i < COMP_CWORD)); do
        case ${COMP_WORDS[i]} in
        --redirect | --file) ((i += 2)) ;;
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
            -W "run check explain help --help --version" -- "$word")
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
    --redirect | --net | --net6) return ;;
    --file | --rules)
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
    check) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    help) mapfile -t COMPREPLY < <(compgen -W "run check explain" -- "$word") ;;
    explain) mapfile -t COMPREPLY < <(compgen -W "tcp udp icmp from" -- "$word") ;;
    esac
}

complete -F _slirp_redirect slirp-redirect
