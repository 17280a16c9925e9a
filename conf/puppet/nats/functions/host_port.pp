# @summary An address and a port in one text.
# @param host
#   The address.
# @param port
#   The port.
# @return The text, with brackets around an IPv6 address.
# @api private
function nats::host_port(String[1] $host, Nats::Port $port) >> String {
  $host ? {
    /:/     => "[${host}]:${port}",
    default => "${host}:${port}",
  }
}
