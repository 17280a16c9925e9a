# @summary Fails with a sentence that an operator understands if something is not installed, in
#   place of errors about each file that has no folder then. What needs it is left out.
# @param test
#   The shell command that succeeds if it is there.
# @param hint
#   What to install.
# @api private
define nats::needs (
  String[1] $test,
  String[1] $hint,
) {
  exec { "nats needs ${title}":
    command  => "echo 'nats: ${title} is not installed: ${hint}' >&2; exit 1",
    unless   => $test,
    path     => ['/usr/sbin', '/usr/bin', '/sbin', '/bin'],
    provider => shell,
  }
}
