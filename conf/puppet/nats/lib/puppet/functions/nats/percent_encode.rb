# frozen_string_literal: true

require 'erb'

# @summary Encodes a text for use in a URL, as in the password of a route.
# @api private
Puppet::Functions.create_function(:'nats::percent_encode') do
  # @param text The text.
  # @return [String] The text without characters that mean something in a URL.
  dispatch :encode do
    param 'String', :text
    return_type 'String'
  end

  def encode(text)
    ERB::Util.url_encode(text)
  end
end
