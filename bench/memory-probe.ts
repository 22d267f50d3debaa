// Loaded into the service before it starts (node --expose-gc --import): collects garbage when it is asked to, so that what is counted is what is
// kept and not what the collector has not come to yet.
process.on('message', () => {
  globalThis.gc!();
  process.send!(process.memoryUsage());
});
process.channel?.unref();
