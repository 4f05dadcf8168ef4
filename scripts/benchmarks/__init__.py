"""Measure the package as ratios to a floor: bare trio and msgpack doing the same job.

Two processes, the sides, do the same jobs in turn, a fraction of a second each, so that whatever
else the machine is busy with hits both alike. A figure is the median of the rounds' ratios.

  floor      one side: two processes, one socket, no routing
  system     the other side: the same jobs through `actorsys`; callees holds what its actors run,
             kernels a kernel and the jobs with messages, routing those with a dispatcher
  peers      further sides: what else there is to call a function in another process with
  buffers    a side: buffers handed over, and arrays
  copies     further sides: what else there is to get an array into another process with
  side       how a side is told what to do
  timing     how a job is timed
  processes  what the kernel says of processes: memory, wake-ups
  rows       what is compared with what, and the targets
  trials     the same of buffers, where all sides do a job in turn
  sizes      how large those buffers are
  measure    the sides in turn, and the figures that follow
  report     the table and the JSON file
  plot       a picture of the JSON file
  machine    what it was measured on
  __main__   the options, and the program from start to end
"""
