# Reads [[template, …], data] as JSON, renders each by Ruby's Liquid in UTC, and writes what came of it.
require "json"
require "liquid"

ENV["TZ"] = "UTC"
templates, data = JSON.parse($stdin.read)
results = templates.map do |text|
  template = Liquid::Template.parse(text)
  output = template.render(data)
  template.errors.empty? ? { output: output.dup.force_encoding("utf-8").scrub } : { error: template.errors.first.message.scrub }
rescue Liquid::Error => e
  { error: e.message }
end
puts JSON.generate(results)
