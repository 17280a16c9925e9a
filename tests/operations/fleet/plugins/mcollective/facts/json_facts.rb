require 'json'

module MCollective
  module Facts
    # The facts of a node, from the file plugin.json. The YAML plugin that MCollective brings
    # does not work with current versions of Ruby.
    class Json_facts < Base
      def load_facts_from_source
        JSON.parse(File.read(Config.instance.pluginconf['json']))
      end
    end
  end
end
