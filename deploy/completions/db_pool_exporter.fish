# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_db_pool_exporter_global_optspecs
    string join \n config.file= config.check= config.enable-auto-reload= web.listen-address= web.telemetry-path= web.config.file= web.systemd-socket= web.max-requests= web.max-probes= web.external-url= web.route-prefix= web.enable-lifecycle= web.disable-local-trust= log.level= log.format= timeout-offset= color= h/help V/version
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

complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l config.file -d 'The configuration file: TOML if its name ends in .toml, otherwise YAML' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l config.check -d 'Check the configuration and exit: 0 if it is valid, otherwise 64 and a list of every problem' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l config.enable-auto-reload -d 'Read the configuration file again when it changes' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.listen-address -d 'Address to listen on: `:9956`, `127.0.0.1:9956`, `[::1]:9956` or `unix:/path`; repeatable [default: :9956]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.telemetry-path -d 'Path of the metrics [default: /metrics]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.config.file -d 'File with TLS and authentication settings, in the format of the Prometheus exporter toolkit' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.systemd-socket -d 'Use the sockets that systemd passes, instead of --web.listen-address' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.max-requests -d 'The maximum number of requests in progress; 0 means no limit [default: 40]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.max-probes -d 'The maximum number of requests to /probe in progress, at most half of --web.max-requests [default: 10]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.external-url -d 'The URL under which clients reach the daemon' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.route-prefix -d 'Prefix of every path [default: the path of --web.external-url]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.enable-lifecycle -d 'Allow every client to reload the configuration and to reset the JSON counters' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l web.disable-local-trust -d 'Do not trust a client because it is on this host: for proxies and TCP forwarders in front' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l log.level -d 'Log messages of this level and above: debug, info, warn, error (or trace) [default: info]' -r -f -a "debug\t''
info\t''
warn\t''
error\t''
trace\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l log.format -d 'The format of log lines: logfmt or json [default: logfmt; json with APP_ENV=production]' -r -f -a "logfmt\t''
json\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l timeout-offset -d 'For /probe: seconds to subtract from Prometheus\' scrape time-out [default: 0.5]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -l color -d 'Colours in reports: always, never, or auto for a terminal where NO_COLOR is not set [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -s V -l version -d 'Print version'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "serve" -d 'Watch the targets and serve their metrics (the default)'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "config" -d 'Show the effective configuration and the source of each value'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "check" -d 'Probe every target and exit with 0 if healthy, 1 if degraded, 2 if unhealthy, 3 if unknown'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "size" -d 'Advise on the size of the pool and exit with 0 if it fits, 1 if it does not, 3 if unknown'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "drill" -d 'Open all connections of one process at once, hold them briefly and close them; exit with 0 if the server gives all'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "healthcheck" -d 'Ask a running daemon whether it is alive and exit with 0 or 1'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "demo" -d 'Start a temporary PostgreSQL and sample applications, and watch them through a scripted day'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "completions" -d 'Print the completions of a shell'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l config.file -d 'The configuration file: TOML if its name ends in .toml, otherwise YAML' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l config.check -d 'Check the configuration and exit: 0 if it is valid, otherwise 64 and a list of every problem' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l config.enable-auto-reload -d 'Read the configuration file again when it changes' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.listen-address -d 'Address to listen on: `:9956`, `127.0.0.1:9956`, `[::1]:9956` or `unix:/path`; repeatable [default: :9956]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.telemetry-path -d 'Path of the metrics [default: /metrics]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.config.file -d 'File with TLS and authentication settings, in the format of the Prometheus exporter toolkit' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.systemd-socket -d 'Use the sockets that systemd passes, instead of --web.listen-address' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.max-requests -d 'The maximum number of requests in progress; 0 means no limit [default: 40]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.max-probes -d 'The maximum number of requests to /probe in progress, at most half of --web.max-requests [default: 10]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.external-url -d 'The URL under which clients reach the daemon' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.route-prefix -d 'Prefix of every path [default: the path of --web.external-url]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.enable-lifecycle -d 'Allow every client to reload the configuration and to reset the JSON counters' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l web.disable-local-trust -d 'Do not trust a client because it is on this host: for proxies and TCP forwarders in front' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l log.level -d 'Log messages of this level and above: debug, info, warn, error (or trace) [default: info]' -r -f -a "debug\t''
info\t''
warn\t''
error\t''
trace\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l log.format -d 'The format of log lines: logfmt or json [default: logfmt; json with APP_ENV=production]' -r -f -a "logfmt\t''
json\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -l timeout-offset -d 'For /probe: seconds to subtract from Prometheus\' scrape time-out [default: 0.5]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand serve" -s h -l help -d 'Print help'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l config.file -d 'The configuration file: TOML if its name ends in .toml, otherwise YAML' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.listen-address -d 'Address to listen on: `:9956`, `127.0.0.1:9956`, `[::1]:9956` or `unix:/path`; repeatable [default: :9956]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.telemetry-path -d 'Path of the metrics [default: /metrics]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.config.file -d 'File with TLS and authentication settings, in the format of the Prometheus exporter toolkit' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.systemd-socket -d 'Use the sockets that systemd passes, instead of --web.listen-address' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.max-requests -d 'The maximum number of requests in progress; 0 means no limit [default: 40]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.max-probes -d 'The maximum number of requests to /probe in progress, at most half of --web.max-requests [default: 10]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.external-url -d 'The URL under which clients reach the daemon' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.route-prefix -d 'Prefix of every path [default: the path of --web.external-url]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.enable-lifecycle -d 'Allow every client to reload the configuration and to reset the JSON counters' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l web.disable-local-trust -d 'Do not trust a client because it is on this host: for proxies and TCP forwarders in front' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l log.level -d 'Log messages of this level and above: debug, info, warn, error (or trace) [default: info]' -r -f -a "debug\t''
info\t''
warn\t''
error\t''
trace\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l log.format -d 'The format of log lines: logfmt or json [default: logfmt; json with APP_ENV=production]' -r -f -a "logfmt\t''
json\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -l timeout-offset -d 'For /probe: seconds to subtract from Prometheus\' scrape time-out [default: 0.5]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand config" -s h -l help -d 'Print help'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l format -d 'The format of the report' -r -f -a "table\t'A table, for people'
json\t'JSON, for programs'"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l samples -d 'The number of probes of each target. The last one is judged with those before it, so that a pool that stays exhausted is unhealthy from the third probe on' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l interval -d 'The time from one probe to the next, with --samples' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l config.file -d 'The configuration file: TOML if its name ends in .toml, otherwise YAML' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -l color -d 'Colours in reports: always, never, or auto for a terminal where NO_COLOR is not set [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l prometheus.url -d 'The Prometheus that scrapes the exporter' -r -f
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l window -d 'The time to look at, up to now' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l prometheus.username -d 'The name of a login to Prometheus; needs --prometheus.password-file' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l prometheus.password-file -d 'A file with the password of --prometheus.username' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l prometheus.bearer-token-file -d 'A file with a token for Prometheus' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l prometheus.ca-file -d 'A file with the certificates to trust for https [default: those of the system]' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l for -d 'Without Prometheus: the time for which the server is sampled once a second' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l workers -d 'The rule of thumb instead of measurements: workers that share one pool' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l connections-per-worker -d 'With --workers: connections that one worker uses on average' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l processes -d 'With --workers: processes, each with a pool of its own' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l max-connections -d 'With --workers: connections that the server gives to all of them [default: asked of the target, if there is one]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l overlap -d 'The most processes at once as a multiple of the usual number, such as 2 while a deploy overlaps [default: as seen]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l cores -d 'The processors of the database server: then it is judged whether more connections would make it slower' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l target -d 'Only this target' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l application -d 'Only this application' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l format -d 'The format of the report' -r -f -a "table\t'A table, for people'
json\t'JSON, for programs'"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l config.file -d 'The configuration file: TOML if its name ends in .toml, otherwise YAML' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -l color -d 'Colours in reports: always, never, or auto for a terminal where NO_COLOR is not set [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand size" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand drill" -l connections -d 'The number of connections to open [default: DB_POOL_SIZE + DB_MAX_OVERFLOW]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand drill" -l hold -d 'The time for which all of them are held' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand drill" -l target -d 'The target, if there are several' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand drill" -l config.file -d 'The configuration file: TOML if its name ends in .toml, otherwise YAML' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand drill" -l color -d 'Colours in reports: always, never, or auto for a terminal where NO_COLOR is not set [default: auto]' -r -f -a "auto\t''
always\t''
never\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand drill" -l yes -d 'Do it. Without this flag it is only shown what would be done'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand drill" -s h -l help -d 'Print help'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l web.listen-address -d 'Address to listen on: `:9956`, `127.0.0.1:9956`, `[::1]:9956` or `unix:/path`; repeatable [default: :9956]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l web.external-url -d 'The URL under which clients reach the daemon' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -l web.route-prefix -d 'Prefix of every path [default: the path of --web.external-url]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand healthcheck" -s h -l help -d 'Print help'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l scenario -d 'The scenes to play: a whole day, or one scene between two calm ones' -r -f -a "day\t'All scenes, one after the other'
calm\t'Few requests'
burst\t'More requests than the pools can serve'
leak\t'Requests that forget to end their transaction'
slow\t'Queries that take long'
restart\t'A restart of the database'
two-processes\t'Second processes, and more connections than the settings allow'"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l duration -d 'Play the scenario once in this time, and end [default: again and again until Ctrl-C, a day in 5m]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l rounds -d 'The number of times that the scenario is played with --duration' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.listen-address -d 'Address to listen on: `:9956`, `127.0.0.1:9956`, `[::1]:9956` or `unix:/path`; repeatable [default: :9956]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.telemetry-path -d 'Path of the metrics [default: /metrics]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.config.file -d 'File with TLS and authentication settings, in the format of the Prometheus exporter toolkit' -r -F
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.systemd-socket -d 'Use the sockets that systemd passes, instead of --web.listen-address' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.max-requests -d 'The maximum number of requests in progress; 0 means no limit [default: 40]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.max-probes -d 'The maximum number of requests to /probe in progress, at most half of --web.max-requests [default: 10]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.external-url -d 'The URL under which clients reach the daemon' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.route-prefix -d 'Prefix of every path [default: the path of --web.external-url]' -r
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.enable-lifecycle -d 'Allow every client to reload the configuration and to reset the JSON counters' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l web.disable-local-trust -d 'Do not trust a client because it is on this host: for proxies and TCP forwarders in front' -r -f -a "true\t''
false\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l log.level -d 'Log messages of this level and above: debug, info, warn, error (or trace) [default: info]' -r -f -a "debug\t''
info\t''
warn\t''
error\t''
trace\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -l log.format -d 'The format of log lines: logfmt or json [default: logfmt; json with APP_ENV=production]' -r -f -a "logfmt\t''
json\t''"
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve config check size drill healthcheck demo completions help" -f -a "serve" -d 'Watch the targets and serve their metrics (the default)'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve config check size drill healthcheck demo completions help" -f -a "config" -d 'Show the effective configuration and the source of each value'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve config check size drill healthcheck demo completions help" -f -a "check" -d 'Probe every target and exit with 0 if healthy, 1 if degraded, 2 if unhealthy, 3 if unknown'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve config check size drill healthcheck demo completions help" -f -a "size" -d 'Advise on the size of the pool and exit with 0 if it fits, 1 if it does not, 3 if unknown'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve config check size drill healthcheck demo completions help" -f -a "drill" -d 'Open all connections of one process at once, hold them briefly and close them; exit with 0 if the server gives all'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve config check size drill healthcheck demo completions help" -f -a "healthcheck" -d 'Ask a running daemon whether it is alive and exit with 0 or 1'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve config check size drill healthcheck demo completions help" -f -a "demo" -d 'Start a temporary PostgreSQL and sample applications, and watch them through a scripted day'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve config check size drill healthcheck demo completions help" -f -a "completions" -d 'Print the completions of a shell'
complete -c db_pool_exporter -n "__fish_db_pool_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve config check size drill healthcheck demo completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
