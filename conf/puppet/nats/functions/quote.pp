# @summary A text as a quoted string of the broker's configuration language.
# @param text
#   The text.
# @return The text in double quotes.
# @api private
function nats::quote(String $text) >> String {
  $escaped = regsubst($text, '(["\\\\])', '\\\\\1', 'G')
  "\"${escaped}\""
}
