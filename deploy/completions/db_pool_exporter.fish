# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_db_pool_exporter_global_optspecs
    string join \n config.file= config.check= config.enable-auto-reload= web.listen-address= web.telemetry-path= web.config.file= web.systemd-socket= web.max-requests= web.external-url= web.route-prefix= web.enable-lifecycle= log.level= log.format= timeout-offset= h/help V/version
end

function __fish_db_pool_exporter_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_db_pool_exporter_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_db_pool_exporter_using_subcommand
    set -l cmd (__fish_db_pool_exporter_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l config.file -d 'The configuration file, YAML or TOML by its ending' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l config.check -d 'Check the configuration and end: 0, or 64 with all that is wrong' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l config.enable-auto-reload -d 'Read the configuration file again when it changes' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.listen-address -d 'Where to listen: `:9956`, `127.0.0.1:9956`, `[::1]:9956`, `unix:/path`; repeatable [default: :9956]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.telemetry-path -d 'The path of the metrics [default: /metrics]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.config.file -d 'TLS and authentication, in the exporter toolkit\'s format' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.systemd-socket -d 'Take the sockets from systemd instead' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.max-requests -d 'Requests answered at a time; 0 is no limit [default: 40]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.external-url -d 'The URL under which others reach the daemon' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.route-prefix -d 'What stands before every path [default: the path of --web.external-url]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.enable-lifecycle -d 'Let everybody reload the configuration and reset the metrics' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l log.level -d 'Log only from this level on: debug, info, warn, error (or trace) [default: info]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l log.format -d 'How log lines are written: logfmt or json [default: logfmt; json with APP_ENV=production]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l timeout-offset -d 'Without effect in this version: seconds that /probe will take off Prometheus\' time-out [default: 0.5]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -s V -l version -d 'Print version'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "serve" -d 'Watch the targets and serve their metrics (the default)'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "config" -d 'Show the effective configuration, and where each value came from'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "check" -d 'Probe every target once and tell: 0 healthy, 1 degraded, 2 unhealthy, 3 not to be judged'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "healthcheck" -d 'Ask a running daemon whether it is alive: 0 or 1'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "demo" -d 'Watch a throwaway PostgreSQL and an application with a life of its own, until Ctrl-C'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l config.file -d 'The configuration file, YAML or TOML by its ending' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l config.check -d 'Check the configuration and end: 0, or 64 with all that is wrong' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l config.enable-auto-reload -d 'Read the configuration file again when it changes' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.listen-address -d 'Where to listen: `:9956`, `127.0.0.1:9956`, `[::1]:9956`, `unix:/path`; repeatable [default: :9956]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.telemetry-path -d 'The path of the metrics [default: /metrics]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.config.file -d 'TLS and authentication, in the exporter toolkit\'s format' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.systemd-socket -d 'Take the sockets from systemd instead' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.max-requests -d 'Requests answered at a time; 0 is no limit [default: 40]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.external-url -d 'The URL under which others reach the daemon' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.route-prefix -d 'What stands before every path [default: the path of --web.external-url]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.enable-lifecycle -d 'Let everybody reload the configuration and reset the metrics' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l log.level -d 'Log only from this level on: debug, info, warn, error (or trace) [default: info]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l log.format -d 'How log lines are written: logfmt or json [default: logfmt; json with APP_ENV=production]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l timeout-offset -d 'Without effect in this version: seconds that /probe will take off Prometheus\' time-out [default: 0.5]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -s h -l help -d 'Print help'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l config.file -d 'The configuration file, YAML or TOML by its ending' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l config.check -d 'Check the configuration and end: 0, or 64 with all that is wrong' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l config.enable-auto-reload -d 'Read the configuration file again when it changes' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.listen-address -d 'Where to listen: `:9956`, `127.0.0.1:9956`, `[::1]:9956`, `unix:/path`; repeatable [default: :9956]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.telemetry-path -d 'The path of the metrics [default: /metrics]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.config.file -d 'TLS and authentication, in the exporter toolkit\'s format' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.systemd-socket -d 'Take the sockets from systemd instead' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.max-requests -d 'Requests answered at a time; 0 is no limit [default: 40]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.external-url -d 'The URL under which others reach the daemon' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.route-prefix -d 'What stands before every path [default: the path of --web.external-url]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.enable-lifecycle -d 'Let everybody reload the configuration and reset the metrics' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l log.level -d 'Log only from this level on: debug, info, warn, error (or trace) [default: info]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l log.format -d 'How log lines are written: logfmt or json [default: logfmt; json with APP_ENV=production]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l timeout-offset -d 'Without effect in this version: seconds that /probe will take off Prometheus\' time-out [default: 0.5]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -s h -l help -d 'Print help'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l format -d 'How the findings are told' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l config.file -d 'The configuration file, YAML or TOML by its ending' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l config.check -d 'Check the configuration and end: 0, or 64 with all that is wrong' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l config.enable-auto-reload -d 'Read the configuration file again when it changes' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l web.listen-address -d 'Where to listen: `:9956`, `127.0.0.1:9956`, `[::1]:9956`, `unix:/path`; repeatable [default: :9956]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l web.telemetry-path -d 'The path of the metrics [default: /metrics]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l web.config.file -d 'TLS and authentication, in the exporter toolkit\'s format' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l web.systemd-socket -d 'Take the sockets from systemd instead' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l web.max-requests -d 'Requests answered at a time; 0 is no limit [default: 40]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l web.external-url -d 'The URL under which others reach the daemon' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l web.route-prefix -d 'What stands before every path [default: the path of --web.external-url]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l web.enable-lifecycle -d 'Let everybody reload the configuration and reset the metrics' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l log.level -d 'Log only from this level on: debug, info, warn, error (or trace) [default: info]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l log.format -d 'How log lines are written: logfmt or json [default: logfmt; json with APP_ENV=production]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l timeout-offset -d 'Without effect in this version: seconds that /probe will take off Prometheus\' time-out [default: 0.5]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l config.file -d 'The configuration file, YAML or TOML by its ending' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l config.check -d 'Check the configuration and end: 0, or 64 with all that is wrong' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l config.enable-auto-reload -d 'Read the configuration file again when it changes' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l web.listen-address -d 'Where to listen: `:9956`, `127.0.0.1:9956`, `[::1]:9956`, `unix:/path`; repeatable [default: :9956]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l web.telemetry-path -d 'The path of the metrics [default: /metrics]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l web.config.file -d 'TLS and authentication, in the exporter toolkit\'s format' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l web.systemd-socket -d 'Take the sockets from systemd instead' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l web.max-requests -d 'Requests answered at a time; 0 is no limit [default: 40]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l web.external-url -d 'The URL under which others reach the daemon' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l web.route-prefix -d 'What stands before every path [default: the path of --web.external-url]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l web.enable-lifecycle -d 'Let everybody reload the configuration and reset the metrics' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l log.level -d 'Log only from this level on: debug, info, warn, error (or trace) [default: info]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l log.format -d 'How log lines are written: logfmt or json [default: logfmt; json with APP_ENV=production]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l timeout-offset -d 'Without effect in this version: seconds that /probe will take off Prometheus\' time-out [default: 0.5]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -s h -l help -d 'Print help'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l config.file -d 'The configuration file, YAML or TOML by its ending' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l config.check -d 'Check the configuration and end: 0, or 64 with all that is wrong' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l config.enable-auto-reload -d 'Read the configuration file again when it changes' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.listen-address -d 'Where to listen: `:9956`, `127.0.0.1:9956`, `[::1]:9956`, `unix:/path`; repeatable [default: :9956]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.telemetry-path -d 'The path of the metrics [default: /metrics]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.config.file -d 'TLS and authentication, in the exporter toolkit\'s format' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.systemd-socket -d 'Take the sockets from systemd instead' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.max-requests -d 'Requests answered at a time; 0 is no limit [default: 40]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.external-url -d 'The URL under which others reach the daemon' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.route-prefix -d 'What stands before every path [default: the path of --web.external-url]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.enable-lifecycle -d 'Let everybody reload the configuration and reset the metrics' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l log.level -d 'Log only from this level on: debug, info, warn, error (or trace) [default: info]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l log.format -d 'How log lines are written: logfmt or json [default: logfmt; json with APP_ENV=production]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l timeout-offset -d 'Without effect in this version: seconds that /probe will take off Prometheus\' time-out [default: 0.5]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -s h -l help -d 'Print help'
