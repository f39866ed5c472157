/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NS16550A UART on the ISA bus, after National Semiconductor's PC16550D data sheet.
 *
 *   +0  RBR/THR (DLL when LCR.DLAB)    +4  MCR
 *   +1  IER     (DLM when LCR.DLAB)    +5  LSR
 *   +2  IIR/FCR                        +6  MSR
 *   +3  LCR                            +7  SCR
 *
 * The crystal is the PC's 1.8432 MHz.  Output is paced by the baud rate: the shift register holds a
 * character for its time, then the back end gets it; when that takes none, the shift register keeps
 * it and the transmitter stands still, so nothing is lost.  Input is paced the same way, by the
 * FIFO load.  The interrupt line is gated by MCR.OUT2, as the PC wires it.
 *
 * Departures: errors on the line (parity, framing) never happen, and the back end is the modem: it
 * raises CTS, DSR and DCD while it is connected; RI stays off.  A divisor of 0 counts as 1.
 */
#include <tenon/tenon.h>

#include <string.h>

#define CRYSTAL_HZ 1843200
#define FIFO_SIZE  16
#define LATE_NS    (500 * TN_NS_PER_US)

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

enum {
  IER_DATA = 0x01,
  IER_THRE = 0x02,
  IER_LINE = 0x04,
  IER_MODEM = 0x08,
  IER_MASK = 0x0f,

  IIR_NONE = 0x01,
  IIR_MODEM = 0x00,
  IIR_THRE = 0x02,
  IIR_DATA = 0x04,
  IIR_LINE = 0x06,
  IIR_TIMEOUT = 0x0c,
  IIR_FIFOS = 0xc0,

  FCR_ENABLE = 0x01,
  FCR_CLEAR_RX = 0x02,
  FCR_CLEAR_TX = 0x04,
  FCR_KEPT = 0xc9,

  LCR_WORD = 0x03,
  LCR_STOP = 0x04,
  LCR_PARITY = 0x08,
  LCR_BREAK = 0x40,
  LCR_DLAB = 0x80,

  MCR_DTR = 0x01,
  MCR_RTS = 0x02,
  MCR_OUT1 = 0x04,
  MCR_OUT2 = 0x08,
  MCR_LOOP = 0x10,
  MCR_MASK = 0x1f,

  LSR_DR = 0x01,
  LSR_OE = 0x02,
  LSR_THRE = 0x20,
  LSR_TEMT = 0x40,

  MSR_DCTS = 0x01,
  MSR_DDSR = 0x02,
  MSR_TERI = 0x04,
  MSR_DDCD = 0x08,
  MSR_CTS = 0x10,
  MSR_DSR = 0x20,
  MSR_RI = 0x40,
  MSR_DCD = 0x80,
};

typedef struct {
  TnDevice *device;
  uint32_t port, irq;
  const char *link;
  bool fast;
  TnChar *chr;
  TnLine *line;
  TnTimer *tx_timer, *rx_timer;

  uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
  uint8_t lsr_errors; /* LSR_OE */
  uint8_t msr;        /* lines as last seen, and their deltas */
  bool connected;     /* the back end's peer is there */

  uint8_t rx[FIFO_SIZE], rx_count;
  bool rx_timeout; /* the character timeout has passed */
  int64_t rx_timeout_due;
  int64_t rx_next; /* the line is busy with characters until then */

  uint8_t tx[FIFO_SIZE], tx_count; /* THR or FIFO */
  uint8_t tsr;                     /* shift register */
  bool tsr_busy, tsr_stalled;      /* stalled: sent, but the back end did not take it */
  int64_t tsr_due;                 /* when its last bit has left; 0 when stalled */
  bool thre_pending;               /* the interrupt of an emptied THR */
  bool thre_owed;                  /* ... comes when the shift register is done */
  int64_t tx_set;                  /* what tx_timer is set to, or NEVER */
} Uart;

/* ---- Line format ---- */

static int64_t
char_time (const Uart *u)
{
  unsigned divisor = u->dll | u->dlm << 8;
  if (u->fast)
    return TN_NS_PER_US;
  unsigned bits = 1 + 5 + (u->lcr & LCR_WORD) + 1 + !!(u->lcr & LCR_STOP) + !!(u->lcr & LCR_PARITY);
  return tn_ticks_to_ns ((int64_t) MAX (divisor, 1) * 16 * bits, CRYSTAL_HZ);
}

static uint8_t
word_mask (const Uart *u)
{
  return 0xff >> (3 - (u->lcr & LCR_WORD));
}

static bool
fifos_on (const Uart *u)
{
  return u->fcr & FCR_ENABLE;
}

static unsigned
fifo_depth (const Uart *u)
{
  return fifos_on (u) ? FIFO_SIZE : 1;
}

static unsigned
rx_trigger (const Uart *u)
{
  static const uint8_t level[4] = { 1, 4, 8, 14 };
  return fifos_on (u) ? level[u->fcr >> 6] : 1;
}

/* ---- Interrupts ---- */

static uint8_t
interrupt_id (const Uart *u)
{
  if ((u->ier & IER_LINE) && u->lsr_errors)
    return IIR_LINE;
  if ((u->ier & IER_DATA) && u->rx_count >= rx_trigger (u))
    return IIR_DATA;
  if ((u->ier & IER_DATA) && u->rx_timeout)
    return IIR_TIMEOUT;
  if ((u->ier & IER_THRE) && u->thre_pending)
    return IIR_THRE;
  if ((u->ier & IER_MODEM) && (u->msr & 0x0f))
    return IIR_MODEM;
  return IIR_NONE;
}

/* In loopback the OUT2 pin is inactive, so the gate of the PC is closed. */
static void
update_irq (Uart *u)
{
  bool gate = (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
  tn_line_set (u->line, gate && interrupt_id (u) != IIR_NONE);
}

/* Takes over the modem lines as they are now and notes what changed. */
static void
update_modem (Uart *u)
{
  uint8_t now = 0, old = u->msr, changed;
  if (u->mcr & MCR_LOOP)
    now = (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0)
          | (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
  else if (u->connected)
    now = MSR_CTS | MSR_DSR | MSR_DCD;
  changed = (old ^ now) >> 4;
  if (now & MSR_RI)
    changed &= ~MSR_TERI; /* trailing edge only */
  u->msr = now | (old & 0x0f) | changed;
}

/* ---- Receiver ---- */

static void
rx_schedule (Uart *u)
{
  int64_t now = tn_device_now (u->device), when = TN_TIME_NEVER;
  if (u->rx_next > now)
    when = u->rx_next;
  if (fifos_on (u) && u->rx_count && !u->rx_timeout)
    when = MIN (when, u->rx_timeout_due);
  tn_timer_set (u->rx_timer, when);
}

/* Four character times without a character in or a read start over with each of them. */
static void
rx_activity (Uart *u)
{
  u->rx_timeout = false;
  u->rx_timeout_due = tn_device_now (u->device) + 4 * char_time (u);
  rx_schedule (u);
}

static void
rx_push (Uart *u, uint8_t byte)
{
  if (u->rx_count == fifo_depth (u))
    {
      u->lsr_errors |= LSR_OE;
      if (!fifos_on (u))
        u->rx[0] = byte; /* the old one is destroyed; with FIFOs it is the new one that is */
      return;
    }
  u->rx[u->rx_count++] = byte & word_mask (u);
}

static uint8_t
rx_pop (Uart *u)
{
  uint8_t byte = u->rx[0];
  if (u->rx_count > 1)
    memmove (u->rx, u->rx + 1, u->rx_count - 1);
  if (u->rx_count)
    u->rx_count--;
  return byte;
}

static void
rx_clear (Uart *u)
{
  u->rx_count = 0;
  u->rx_timeout = false;
  rx_schedule (u);
}

static void
rx_event (void *self, void *data)
{
  Uart *u = self;
  int64_t now = tn_device_now (u->device);
  if (fifos_on (u) && u->rx_count && !u->rx_timeout && now >= u->rx_timeout_due)
    u->rx_timeout = true;
  update_irq (u);
  rx_schedule (u);
  if (now >= u->rx_next)
    tn_char_accept (u->chr);
}

static size_t
front_room (void *self, void *data)
{
  Uart *u = self;
  if ((u->mcr & MCR_LOOP) || tn_device_now (u->device) < u->rx_next)
    return 0;
  return fifo_depth (u) - MIN (u->rx_count, fifo_depth (u));
}

static void
front_receive (void *self, const uint8_t *bytes, size_t size, void *data)
{
  Uart *u = self;
  for (size_t i = 0; i < size; i++)
    rx_push (u, bytes[i]);
  u->rx_next = tn_device_now (u->device) + (int64_t) MIN (size, FIFO_SIZE) * char_time (u);
  rx_activity (u);
  update_irq (u);
}

static void
front_connected (void *self, bool connected, void *data)
{
  Uart *u = self;
  u->connected = connected;
  update_modem (u);
  update_irq (u);
}

/* ---- Transmitter ---- */

/* Does the guest see of the transmitter what it reads, but no interrupt? */
static bool
tx_polled (const Uart *u)
{
  return !(u->ier & IER_THRE) && !(u->mcr & MCR_LOOP);
}

/* The next moment at which something can be seen: the FIFO is empty, or the last bit has left.
   With `fast` and a guest that polls, nobody but the back end waits, and setting a timer of the
   host for each character would cost more than the character: it is set once for many, and comes
   late. */
static void
tx_schedule (Uart *u)
{
  int64_t when = TN_TIME_NEVER;
  if (u->tsr_busy && !u->tsr_stalled)
    when = u->tsr_due + (u->tx_count ? u->tx_count - 1 : 0) * char_time (u);
  if (u->fast && tx_polled (u))
    {
      if (when == TN_TIME_NEVER || (u->tx_set >= when && u->tx_set - when <= LATE_NS))
        return;
      when += LATE_NS;
    }
  u->tx_set = when;
  tn_timer_set (u->tx_timer, when);
}

static void
tx_load (Uart *u, unsigned skip, int64_t due)
{
  u->tsr_busy = u->tx_count > skip;
  if (!u->tsr_busy)
    return;
  u->tsr = u->tx[skip];
  u->tx_count -= skip + 1;
  memmove (u->tx, u->tx + skip + 1, u->tx_count);
  u->tsr_due = due;
  if (!u->tx_count)
    {
      u->thre_pending = true;
      u->thre_owed = false;
    }
}

/* The first `n` of the characters under way (shift register first) go out together. */
static void
tx_emit (Uart *u, unsigned n)
{
  uint8_t out[1 + FIFO_SIZE];
  unsigned taken = n;
  int64_t time = char_time (u), due = u->tsr_due + n * time;
  out[0] = u->tsr;
  memcpy (out + 1, u->tx, n - 1);
  for (unsigned i = 0; i < n; i++)
    out[i] &= word_mask (u);

  if (!(u->mcr & MCR_LOOP))
    taken = tn_char_send (u->chr, out, n);
  else
    for (unsigned i = 0; i < n; i++)
      rx_push (u, out[i]);

  u->tsr_stalled = taken < n;
  if (u->tsr_stalled)
    {
      if (taken)
        tx_load (u, taken - 1, 0);
      u->tsr_due = 0;
      return;
    }
  if (u->mcr & MCR_LOOP)
    rx_activity (u);
  if (u->tx_count >= n)
    tx_load (u, n - 1, due);
  else
    {
      /* The timer came late: the FIFO ran empty, which is an interrupt, and the last bit left. */
      u->thre_pending |= u->thre_owed || u->tx_count;
      u->thre_owed = false;
      u->tx_count = 0;
      u->tsr_busy = false;
    }
}

/* Brings the transmitter up to the present moment. */
static void
tx_sync (Uart *u)
{
  int64_t now, time;
  unsigned n;
  if (!u->tsr_busy || u->tsr_stalled || (now = tn_device_now (u->device)) < u->tsr_due)
    return;
  time = char_time (u);
  n = 1 + MIN ((now - u->tsr_due) / time, u->tx_count);
  tx_emit (u, n);
  tx_schedule (u);
}

static void
tx_write (Uart *u, uint8_t byte)
{
  if (u->tx_count < fifo_depth (u))
    u->tx[u->tx_count++] = byte;
  else if (fifos_on (u))
    tn_device_log (u->device, TN_LOG_GUEST_ERROR, "character %02x written to a full FIFO", byte);
  else
    u->tx[0] = byte;
  u->thre_pending = false;
  if (!u->tsr_busy)
    {
      tx_load (u, 0, tn_device_now (u->device) + char_time (u));
      if (fifos_on (u))
        {
          /* With FIFOs the interrupt of a single character is held back for its time, so that a
             driver which fills the FIFO does not see one come and go. */
          u->thre_pending = false;
          u->thre_owed = true;
        }
    }
  tx_schedule (u);
}

static void
tx_event (void *self, void *data)
{
  Uart *u = self;
  u->tx_set = TN_TIME_NEVER;
  if (u->tsr_stalled)
    {
      u->tsr_stalled = false;
      u->tsr_due = tn_device_now (u->device);
    }
  tx_sync (u);
  tx_schedule (u);
  update_irq (u);
}

static void
front_writable (void *self, void *data)
{
  Uart *u = self;
  if (u->tsr_stalled)
    tx_event (u, NULL);
}

/* ---- Registers ---- */

static uint8_t
read_data (Uart *u)
{
  uint8_t byte = rx_pop (u);
  rx_activity (u);
  if (!u->rx_count)
    u->rx_timeout = false;
  update_irq (u);
  if (!u->rx_count)
    tn_char_accept (u->chr);
  return byte;
}

static uint8_t
read_iir (Uart *u)
{
  uint8_t id = interrupt_id (u);
  if (id == IIR_THRE)
    u->thre_pending = false;
  return id | (fifos_on (u) ? IIR_FIFOS : 0);
}

static uint8_t
read_lsr (Uart *u)
{
  uint8_t lsr = u->lsr_errors | (u->rx_count ? LSR_DR : 0) | (u->tx_count ? 0 : LSR_THRE)
                | (u->tx_count || u->tsr_busy ? 0 : LSR_TEMT);
  u->lsr_errors = 0;
  return lsr;
}

static uint32_t
uart_read (void *self, uint32_t offset, unsigned size)
{
  Uart *u = self;
  uint8_t value = 0;
  tx_sync (u);
  switch (offset)
    {
    case REG_DATA:
      return u->lcr & LCR_DLAB ? u->dll : read_data (u);
    case REG_IER:
      return u->lcr & LCR_DLAB ? u->dlm : u->ier;
    case REG_IIR_FCR:
      value = read_iir (u);
      break;
    case REG_LCR:
      return u->lcr;
    case REG_MCR:
      return u->mcr;
    case REG_LSR:
      value = read_lsr (u);
      break;
    case REG_MSR:
      value = u->msr;
      u->msr &= 0xf0;
      break;
    case REG_SCR:
      return u->scr;
    }
  update_irq (u);
  return value;
}

static void
write_ier (Uart *u, uint8_t value)
{
  value &= IER_MASK;
  if ((value & ~u->ier & IER_THRE) && !u->tx_count)
    u->thre_pending = true;
  u->ier = value;
  tx_schedule (u);
}

static void
write_fcr (Uart *u, uint8_t value)
{
  bool change = (value ^ u->fcr) & FCR_ENABLE;
  u->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
  if (change || (value & FCR_CLEAR_RX))
    rx_clear (u);
  if (change || (value & FCR_CLEAR_TX))
    {
      if (u->tx_count)
        u->thre_pending = true;
      u->tx_count = 0;
      tx_schedule (u);
    }
  tn_char_accept (u->chr);
}

static void
write_lcr (Uart *u, uint8_t value)
{
  uint8_t changed = u->lcr ^ value;
  u->lcr = value;
  if (changed & LCR_BREAK)
    tn_char_break (u->chr, value & LCR_BREAK);
}

static void
write_mcr (Uart *u, uint8_t value)
{
  uint8_t changed = u->mcr ^ (value & MCR_MASK);
  u->mcr = value & MCR_MASK;
  update_modem (u);
  if (!(changed & MCR_LOOP))
    return;
  tx_schedule (u);
  front_writable (u, NULL); /* a stalled character takes the new way */
  if (!(value & MCR_LOOP))
    tn_char_accept (u->chr);
}

static void
uart_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Uart *u = self;
  tx_sync (u);
  switch (offset)
    {
    case REG_DATA:
      if (u->lcr & LCR_DLAB)
        u->dll = value;
      else
        tx_write (u, value);
      break;
    case REG_IER:
      if (u->lcr & LCR_DLAB)
        u->dlm = value;
      else
        write_ier (u, value);
      break;
    case REG_IIR_FCR:
      write_fcr (u, value);
      break;
    case REG_LCR:
      write_lcr (u, value);
      break;
    case REG_MCR:
      write_mcr (u, value);
      break;
    case REG_SCR:
      u->scr = value;
      break;
    }
  update_irq (u);
}

/* ---- Life cycle ---- */

static bool
uart_realize (void *self, GError **error)
{
  static const TnBusOps ops = { .read = uart_read, .write = uart_write, .max_size = 1 };
  static const TnCharFrontOps front
      = { front_room, front_receive, front_writable, front_connected };
  Uart *u = self;
  char name[16];

  if (u->port & 7)
    return tn_device_fail (u->device, error, TN_ERROR_CONFIG, "port 0x%x is not a multiple of 8",
                           u->port);
  if (!tn_device_add_ports (u->device, u->port, 8, &ops, TN_IO_FAST, error))
    return false;
  g_snprintf (name, sizeof name, "isa:%u", u->irq);
  u->line = tn_device_line (u->device, name);
  u->tx_timer = tn_device_timer_new (u->device, "tx", tx_event, NULL);
  u->rx_timer = tn_device_timer_new (u->device, "rx", rx_event, NULL);
  u->tx_set = TN_TIME_NEVER;
  u->connected = u->link != NULL;
  u->dll = 1;
  u->chr = tn_device_char (u->device, u->link, &front, NULL, error);
  return u->chr != NULL;
}

/* MR (pin 35): the divisor, the scratch register and the modem's lines are not touched. */
static void
uart_reset (void *self)
{
  Uart *u = self;
  if (u->lcr & LCR_BREAK)
    tn_char_break (u->chr, false);
  u->ier = u->fcr = u->lcr = u->mcr = u->lsr_errors = 0;
  u->rx_count = u->tx_count = 0;
  u->rx_timeout = u->tsr_busy = u->tsr_stalled = u->thre_pending = u->thre_owed = false;
  u->tsr = 0;
  u->tsr_due = u->rx_next = u->rx_timeout_due = tn_device_now (u->device);
  memset (u->rx, 0, sizeof u->rx);
  memset (u->tx, 0, sizeof u->tx);
  u->msr = 0;
  update_modem (u);
  u->msr &= 0xf0;
  u->tx_set = TN_TIME_NEVER;
  tn_timer_cancel (u->tx_timer);
  tn_timer_cancel (u->rx_timer);
  update_irq (u);
}

static bool
uart_restored (void *self, GError **error)
{
  Uart *u = self;
  int64_t now = tn_device_now (u->device);
  if (u->rx_count > fifo_depth (u) || u->tx_count > fifo_depth (u) || (u->ier & ~IER_MASK)
      || (u->mcr & ~MCR_MASK) || (u->fcr & ~FCR_KEPT) || (u->lsr_errors & ~LSR_OE)
      || (u->fcr && !fifos_on (u)) || (u->tx_count && !u->tsr_busy)
      || (u->tsr_stalled && !u->tsr_busy)
      || (u->tsr_busy && !u->tsr_stalled && ABS (u->tsr_due / 2 - now / 2) > 60 * TN_NS_PER_S))
    return tn_device_fail (u->device, error, TN_ERROR_STATE, "registers cannot hold such values");
  if (u->lcr & LCR_BREAK)
    tn_char_break (u->chr, true);
  update_modem (u);
  u->tx_set = TN_TIME_NEVER;
  tx_schedule (u);
  if (u->tsr_stalled)
    tn_timer_set (u->tx_timer, now); /* ask again: the back end may be another one */
  tn_timer_set (u->rx_timer, now);
  update_irq (u);
  return true;
}

static const TnProperty props[] = {
  TN_PROP_UINT (Uart, port, "port", "first of eight I/O ports", 0x3f8, 0, 0xfff8),
  TN_PROP_UINT (Uart, irq, "irq", "ISA interrupt, 0 to 15", 4, 0, 15),
  TN_PROP_LINK (Uart, link, "chardev", "character back end; none swallows output", TN_KIND_CHAR),
  TN_PROP_BOOL (Uart, fast, "fast", "characters take a microsecond, whatever the divisor says", false),
  TN_PROP_END,
};

static const TnField fields[] = {
  TN_FIELD (Uart, ier, 1),
  TN_FIELD (Uart, fcr, 1),
  TN_FIELD (Uart, lcr, 1),
  TN_FIELD (Uart, mcr, 1),
  TN_FIELD (Uart, scr, 1),
  TN_FIELD (Uart, dll, 1),
  TN_FIELD (Uart, dlm, 1),
  TN_FIELD (Uart, lsr_errors, 1),
  TN_FIELD (Uart, msr, 1),
  TN_FIELD (Uart, connected, 1),
  TN_FIELD (Uart, rx, 1),
  TN_FIELD (Uart, rx_count, 1),
  TN_FIELD (Uart, rx_timeout, 1),
  TN_FIELD_TIME (Uart, rx_timeout_due, 1),
  TN_FIELD_TIME (Uart, rx_next, 1),
  TN_FIELD (Uart, tx, 1),
  TN_FIELD (Uart, tx_count, 1),
  TN_FIELD (Uart, tsr, 1),
  TN_FIELD (Uart, tsr_busy, 1),
  TN_FIELD (Uart, tsr_stalled, 1),
  TN_FIELD_TIME (Uart, tsr_due, 1),
  TN_FIELD (Uart, thre_pending, 1),
  TN_FIELD (Uart, thre_owed, 1),
  TN_FIELD_END,
};

static const TnIoDoc io[] = {
  { "port+0", "RBR (read), THR (write); DLL when LCR.DLAB is set" },
  { "port+1", "IER; DLM when LCR.DLAB is set" },
  { "port+2", "IIR (read), FCR (write)" },
  { "port+3", "LCR" },
  { "port+4", "MCR" },
  { "port+5", "LSR (read only)" },
  { "port+6", "MSR (read only)" },
  { "port+7", "SCR" },
  { "IRQ irq", "while MCR.OUT2 is set" },
  { NULL, NULL },
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "uart16550a",
  .summary = "Serial port with 16-byte FIFOs",
  .document = "National Semiconductor PC16550D",
  .kind = TN_KIND_DEVICE,
  .state_version = 1,
  .instance_size = sizeof (Uart),
  .properties = props,
  .fields = fields,
  .io = io,
  .ops = { .realize = uart_realize, .reset = uart_reset, .restored = uart_restored },
};
