/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For tests that wait for another thread, another process or the kernel: for the state itself,
 * never for a while in which it ought to have come.  A slow or busy host makes a test late, not
 * wrong.
 *
 *   WAIT_FOR (access (path, F_OK) == 0);
 *   g_assert_cmpint (access (path, F_OK), ==, 0);
 */
#pragma once

#include <arpa/inet.h>
#include <glib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_S 300

/* Evaluates the condition until it holds, or for PATIENCE_S; the caller checks what came of it. */
#define WAIT_FOR(condition)                                                                        \
  do                                                                                               \
    {                                                                                              \
      int64_t wait_end_ = g_get_monotonic_time () + PATIENCE_S * G_USEC_PER_SEC;                   \
                                                                                                   \
      while (!(condition) && g_get_monotonic_time () < wait_end_)                                  \
        g_usleep (1000);                                                                           \
    }                                                                                              \
  while (0)

/* A TCP port that nobody listens on, another one each time.  Not one of those that the kernel gives
   to whoever connects, and one at random, as other tests look for some at the same time. */
static inline unsigned
free_port (void)
{
  static unsigned last;

  for (;;)
    {
      struct sockaddr_in address = { .sin_family = AF_INET };
      unsigned port = g_random_int_range (20000, 32000);
      int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      int taken;

      address.sin_port = htons (port);
      address.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
      taken = bind (fd, (struct sockaddr *) &address, sizeof address);
      close (fd);
      if (taken == 0 && port != last)
        return last = port;
    }
}
