-- One line for the bench to read; wrk's own output rounds and mixes units.
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("%d requests %d failed %.3f s p50 %.3f ms p99 %.3f ms\n", summary.requests, failed,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
