/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Intel 82443BX host bridge (function 00:00.0) and its AGP bridge (00:01.0).
 * After Intel 440BX AGPset: 82443BX Host Bridge/Controller, order 290633.
 *
 *   CF8 (dword)   CONFADD: bit 31 enable, 23:16 bus, 15:8 devfn, 7:2 register
 *   CFC-CFF       CONFDATA: configuration mechanism 1
 *   config 59-5F  PAM0-6: who answers reads and writes of C0000-FFFFF
 *   config 60-67  DRB0-7: where each row of memory ends, in 8 MiB
 *   config 72     SMRAM: main memory behind A0000-BFFFF, for SMM
 *
 * Departures: memory timing, ECC and the graphics aperture's translation are registers without
 * effect.  D_CLS cannot tell code from data fetches and is ignored.  The DRB registers come up filled
 * in, as a BIOS would leave them after sizing memory, because bochsbios does not size it.
 */
#include <tenon/tenon.h>
#include <string.h>

#define REG_APBASE 0x10
#define REG_NBXCFG 0x50
#define REG_DRAMC 0x57
#define REG_PAM0 0x59
#define REG_DRB0 0x60
#define REG_SMRAM 0x72
#define REG_PMCR 0x7a
#define REG_APSIZE 0xb4

#define PAM_RE 1
#define PAM_WE 2

#define SMRAM_D_OPEN 0x40
#define SMRAM_D_CLS 0x20
#define SMRAM_D_LCK 0x10
#define SMRAM_G_SMRAME 0x08

#define CONFADD_ENABLE 0x80000000u
#define BRIDGE_SECONDARY 0x19
#define DRB_UNIT (8ull << 20)
#define ROWS 8
#define ROW_MAX 32 /* units: 256 MiB a row */

typedef struct {
  TnDevice *device;
  bool agp;
  TnPci *host, *bridge;
  uint32_t confadd;
} I440bx;

/* ---- Memory ---- */

static void
route_half (I440bx *bx, uint32_t first, uint32_t size, unsigned nibble)
{
  tn_device_route (bx->device, first, size, TN_VIEW_ALL,
                   nibble & PAM_RE ? TN_ROUTE_RAM : TN_ROUTE_BUS,
                   nibble & PAM_WE ? TN_ROUTE_RAM : TN_ROUTE_BUS);
}

static void
update_pam (I440bx *bx)
{
  const uint8_t *reg = tn_pci_bytes (bx->host);

  /* PAM0 has one segment of 64 KiB in its high nibble; the others two of 16 KiB, from C0000 up. */
  route_half (bx, 0xf0000, 0x10000, reg[REG_PAM0] >> 4);
  for (unsigned n = 1; n <= 6; n++)
    {
      uint32_t first = 0xc0000 + (n - 1) * 0x8000;
      route_half (bx, first, 0x4000, reg[REG_PAM0 + n] & 0xf);
      route_half (bx, first + 0x4000, 0x4000, reg[REG_PAM0 + n] >> 4);
    }
}

static void
update_smram (I440bx *bx)
{
  uint8_t smram = tn_pci_bytes (bx->host)[REG_SMRAM];
  bool enabled = smram & SMRAM_G_SMRAME;
  TnRoute smm = enabled ? TN_ROUTE_RAM : TN_ROUTE_BUS;
  TnRoute open = enabled && (smram & SMRAM_D_OPEN) ? TN_ROUTE_RAM : TN_ROUTE_BUS;

  tn_device_route (bx->device, 0xa0000, 0x20000, TN_VIEW_SMM, smm, smm);
  tn_device_route (bx->device, 0xa0000, 0x20000, TN_VIEW_NORMAL, open, open);
}

/* D_LCK freezes the register, itself included, until reset. */
static void
update_smram_lock (I440bx *bx)
{
  uint8_t *reg = tn_pci_bytes (bx->host);
  bool locked = reg[REG_SMRAM] & SMRAM_D_LCK;
  if (locked)
    reg[REG_SMRAM] &= ~SMRAM_D_OPEN;
  tn_pci_set_mask (bx->host, REG_SMRAM, 1, locked ? 0x00 : 0x78);
}

/* APSIZE decides which address bits of the aperture's base exist: 3F = 4 MiB ... 00 = 256 MiB. */
static void
update_aperture (I440bx *bx)
{
  uint8_t *reg = tn_pci_bytes (bx->host);
  uint32_t mask = 0xf0000000u | (uint32_t) (reg[REG_APSIZE] & 0x3f) << 22;
  uint32_t base;

  tn_pci_set_mask (bx->host, REG_APBASE, 4, mask);
  memcpy (&base, reg + REG_APBASE, 4);
  base = (base & mask) | 0x8;
  memcpy (reg + REG_APBASE, &base, 4);
}

static void
fill_rows (I440bx *bx)
{
  unsigned left = (unsigned) (tn_device_ram_size (bx->device) / DRB_UNIT), end = 0;
  for (unsigned row = 0; row < ROWS; row++)
    {
      unsigned units = MIN (left, ROW_MAX);
      end += units;
      left -= units;
      tn_pci_field (bx->host, REG_DRB0 + row, 1, end, 0xff, 0);
    }
}

/* ---- Configuration space of the two functions ---- */

static bool
touches (unsigned offset, unsigned size, unsigned first, unsigned last)
{
  return offset <= last && offset + size > first;
}

static void
host_written (void *self, TnPci *pci, unsigned offset, unsigned size, const uint8_t *old)
{
  I440bx *bx = self;
  if (touches (offset, size, REG_PAM0, REG_PAM0 + 6))
    update_pam (bx);
  if (touches (offset, size, REG_SMRAM, REG_SMRAM))
    {
      update_smram_lock (bx);
      update_smram (bx);
    }
  if (touches (offset, size, REG_APSIZE, REG_APSIZE))
    update_aperture (bx);
}

static const TnPciOps host_ops = { .written = host_written };
static const TnPciOps bridge_ops = { 0 };

typedef struct {
  uint8_t offset, size;
  uint32_t reset, mask, w1c;
} Field;

/* Registers of function 0 beyond the standard header: value at reset, writable bits. */
static const Field host_fields[] = {
  { 0x10, 4, 0x00000008, 0xf0000000, 0 },          /* APBASE */
  { 0x0d, 1, 0x00, 0xf8, 0 },                      /* MLT */
  { 0x50, 4, 0x00002000, 0x00ffef7c, 0 },          /* NBXCFG: 66 MHz strap */
  { 0x57, 1, 0x08, 0x3f, 0 },                      /* DRAMC: SDRAM */
  { 0x58, 1, 0x03, 0xff, 0 },                      /* DRAMT */
  { 0x59, 1, 0, 0x30, 0 },                         /* PAM0 */
  { 0x5a, 1, 0, 0x33, 0 }, { 0x5b, 1, 0, 0x33, 0 }, { 0x5c, 1, 0, 0x33, 0 },
  { 0x5d, 1, 0, 0x33, 0 }, { 0x5e, 1, 0, 0x33, 0 }, { 0x5f, 1, 0, 0x33, 0 },
  { 0x68, 1, 0x00, 0xc0, 0 },                      /* FDHC */
  { 0x69, 4, 0, 0xffffffff, 0 }, { 0x6d, 2, 0, 0xffff, 0 }, /* MBSC */
  { 0x72, 1, 0x02, 0x78, 0 },                      /* SMRAM */
  { 0x73, 1, 0x38, 0x87, 0x40 },                   /* ESMRAMC */
  { 0x74, 2, 0, 0xffff, 0 },                       /* RPS */
  { 0x76, 2, 0, 0x03ff, 0 },                       /* SDRAMC */
  { 0x78, 2, 0, 0xff1f, 0 },                       /* PGPOL */
  { 0x7a, 1, 0, 0x79, 0 },                         /* PMCR; AGP_DIS is a strap */
  { 0x7b, 2, 0x0038, 0x07ff, 0 },                  /* SCRR */
  { 0x80, 4, 0, 0, 0x00000003 },                   /* EAP */
  { 0x90, 1, 0x80, 0xdf, 0 },                      /* ERRCMD */
  { 0x91, 2, 0, 0, 0x071f },                       /* ERRSTS */
  { 0xb0, 4, 0, 0x0000a280, 0 },                   /* AGPCTRL */
  { 0xb4, 1, 0, 0x3f, 0 },                         /* APSIZE */
  { 0xb8, 4, 0, 0xfffff000, 0 },                   /* ATTBASE */
  { 0xca, 2, 0, 0xffff, 0 }, { 0xcc, 1, 0, 0x7f, 0 }, /* MBFS */
  { 0xd0, 4, 0, 0xffffffff, 0 }, { 0xd4, 4, 0, 0xffffffff, 0 }, /* BSPAD */
  { 0xe0, 4, 0, 0xffffffff, 0 }, { 0xe4, 4, 0, 0xffffffff, 0 }, /* throttling */
  { 0xe8, 4, 0, 0xffffffff, 0 }, { 0xec, 4, 0, 0xffffffff, 0 },
  { 0xf0, 2, 0, 0xffff, 0 },                       /* BUFFC */
  { 0xf8, 4, 0x00000f20, 0, 0 },                   /* seen on silicon */
};

static const Field agp_fields[] = {
  { 0x34, 1, 0xa0, 0, 0 },                         /* CAPPTR */
  { 0xa0, 4, 0x00100002, 0, 0 },                   /* ACAPID: AGP 1.0 */
  { 0xa4, 4, 0x1f000203, 0, 0 },                   /* AGPSTAT */
  { 0xa8, 4, 0, 0x00000307, 0 },                   /* AGPCMD */
};

/* Type 1 header of 00:01.0. */
static const Field bridge_fields[] = {
  { 0x18, 4, 0x00000000, 0xf8ffff00, 0 }, /* primary (fixed 0), secondary, subordinate, SMLT */
  { 0x1c, 2, 0x00f0, 0xf0f0, 0 },         /* I/O base and limit */
  { 0x1e, 2, 0x02a0, 0, 0xf000 },         /* SSTS */
  { 0x20, 4, 0x0000fff0, 0xfff0fff0, 0 }, /* memory window */
  { 0x24, 4, 0x0000fff0, 0xfff0fff0, 0 }, /* prefetchable window */
  { 0x3e, 1, 0x80, 0x4f, 0 },             /* BCTRL */
};

static void
add_fields (TnPci *pci, const Field *fields, size_t count)
{
  for (size_t n = 0; n < count; n++)
    tn_pci_field (pci, fields[n].offset, fields[n].size, fields[n].reset, fields[n].mask,
                  fields[n].w1c);
}

/* ---- Configuration mechanism 1 ---- */

static uint32_t
confadd_read (void *self, uint32_t offset, unsigned size)
{
  return ((I440bx *) self)->confadd;
}

static void
confadd_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  ((I440bx *) self)->confadd = value & 0x80fffffcu;
}

/* The bus that a guest's bus number means: 0 here, 1 behind the AGP bridge; false if none. */
static bool
find_bus (I440bx *bx, unsigned number, unsigned *bus)
{
  *bus = 0;
  if (number == 0)
    return true;
  *bus = 1;
  return bx->bridge && tn_pci_bytes (bx->bridge)[BRIDGE_SECONDARY] == number;
}

static uint32_t
confdata_read (void *self, uint32_t offset, unsigned size)
{
  I440bx *bx = self;
  unsigned bus;
  if (!(bx->confadd & CONFADD_ENABLE) || !find_bus (bx, bx->confadd >> 16 & 0xff, &bus))
    return 0xffffffffu;
  return tn_device_pci_config_read (bx->device, bus, bx->confadd >> 8 & 0xff,
                                    (bx->confadd & 0xfc) + offset, size);
}

static void
confdata_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  I440bx *bx = self;
  unsigned bus;
  if ((bx->confadd & CONFADD_ENABLE) && find_bus (bx, bx->confadd >> 16 & 0xff, &bus))
    tn_device_pci_config_write (bx->device, bus, bx->confadd >> 8 & 0xff,
                                (bx->confadd & 0xfc) + offset, value, size);
}

static const TnBusOps confadd_ops = { .read = confadd_read, .write = confadd_write };
static const TnBusOps confdata_ops = { .read = confdata_read, .write = confdata_write };

/* ---- Life cycle ---- */

static bool
add_host_bridge (I440bx *bx, GError **error)
{
  const TnPciConfig config = {
    .vendor = 0x8086, .device = bx->agp ? 0x7190 : 0x7192, .revision = 0x02, .class_code = 0x06,
    .command = 0x0006, .command_mask = 0x0140, .status = bx->agp ? 0x0210 : 0x0200,
    .status_w1c = 0xf100,
  };
  bx->host = tn_device_pci_new (bx->device, 0, 0, 0, &config, &host_ops, error);
  if (!bx->host)
    return false;
  add_fields (bx->host, host_fields, G_N_ELEMENTS (host_fields));
  if (bx->agp)
    add_fields (bx->host, agp_fields, G_N_ELEMENTS (agp_fields));
  else
    tn_pci_field (bx->host, REG_PMCR, 1, 0x02, 0x79, 0);
  fill_rows (bx);
  update_aperture (bx);
  return true;
}

static bool
add_agp_bridge (I440bx *bx, GError **error)
{
  const TnPciConfig config = {
    .vendor = 0x8086, .device = 0x7191, .revision = 0x02, .class_code = 0x06, .subclass = 0x04,
    .header_type = 0x01, .command_mask = 0x0147, .status = 0x0220, .status_w1c = 0x7000,
  };
  bx->bridge = tn_device_pci_new (bx->device, 0, 1, 0, &config, &bridge_ops, error);
  if (!bx->bridge)
    return false;
  add_fields (bx->bridge, bridge_fields, G_N_ELEMENTS (bridge_fields));
  return true;
}

static bool
i440bx_realize (void *self, GError **error)
{
  I440bx *bx = self;
  uint64_t ram = tn_device_ram_size (bx->device);

  if (ram > ROWS * ROW_MAX * DRB_UNIT / 2)
    return tn_device_fail (bx->device, error, TN_ERROR_CONFIG,
                           "an 82443BX holds at most 1024 MB of memory, not %" G_GUINT64_FORMAT
                           " MB; lower machine.memory",
                           ram >> 20);
  return add_host_bridge (bx, error) && (!bx->agp || add_agp_bridge (bx, error))
         /* CONFADD is seen through itself and CONFDATA alone. */
         && tn_device_add_ports (bx->device, 0xcf8, 4, &confadd_ops,
                                TN_IO_DWORD | TN_IO_FAST | TN_IO_POSTED, error)
         && tn_device_add_ports (bx->device, 0xcfc, 4, &confdata_ops, TN_REGION_DEFAULT, error);
}

static void
i440bx_reset (void *self)
{
  I440bx *bx = self;
  bx->confadd = 0;
  update_smram_lock (bx);
  update_aperture (bx);
  update_pam (bx);
  update_smram (bx);
}

static bool
i440bx_restored (void *self, GError **error)
{
  I440bx *bx = self;
  bx->confadd &= 0x80fffffcu;
  update_smram_lock (bx);
  update_aperture (bx);
  update_pam (bx);
  update_smram (bx);
  return true;
}

static const TnProperty properties[] = {
  TN_PROP_BOOL (I440bx, agp, "agp", "AGP enabled: 8086:7190 with the bridge 00:01.0, else 7192", true),
  TN_PROP_END
};

static const TnField fields[] = { TN_FIELD (I440bx, confadd, 1), TN_FIELD_END };

static const TnIoDoc io[] = {
  { "port CF8h (dword)", "CONFADD, PCI configuration address" },
  { "ports CFCh-CFFh", "CONFDATA, PCI configuration data" },
  { "PCI 00:00.0", "82443BX host bridge" },
  { "PCI 00:01.0", "82443BX PCI-to-PCI (AGP) bridge" },
  { "memory A0000h-FFFFFh", "shadowing (PAM) and SMRAM" },
  { NULL, NULL }
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "i440bx",
  .summary = "Intel 82443BX host bridge and memory controller",
  .document = "Intel 82443BX Host Bridge/Controller data sheet, order 290633",
  .kind = TN_KIND_DEVICE,
  .state_version = 1,
  .instance_size = sizeof (I440bx),
  .properties = properties,
  .fields = fields,
  .io = io,
  .ops = { .realize = i440bx_realize, .reset = i440bx_reset, .restored = i440bx_restored },
};
