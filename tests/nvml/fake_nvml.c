/* A pretended libnvidia-ml.so.1, as much of NVIDIA's NVML API reference as pynvml is asked for here.
 *
 * It keeps no state but how many faults each event set has been told: every other answer is looked up
 * in the file named by FAKE_NVML_STATE, one `key=value` in a line, so that a test can change a card
 * while a worker is running:
 *
 *   count=2                   number of GPUs (none without it)
 *   driver=580.65.06          driver version
 *   init_error=9              nvmlInit fails with this code
 *   hang=1                    whoever asks for a card by its UUID waits until this is gone
 *   gpu.0.uuid= gpu.0.name= gpu.0.total= gpu.0.used=           bytes
 *   gpu.0.temperature= gpu.0.power= gpu.0.utilization=         degrees Celsius, milliwatts, percent
 *   gpu.0.energy=             millijoules since the driver was loaded
 *   gpu.0.reasons=            why its clocks are low, as a number of bits
 *   gpu.0.violation.0=        nanoseconds slowed down by a policy (0 power, 1 thermal)
 *   gpu.0.ecc.0= gpu.0.ecc.1= memory errors, corrected and not
 *   gpu.0.xids=79,31          the faults it has had so far; without it, none are ever told
 *   gpu.0.lost=1              the card has fallen off the bus
 *   gpu.0.mig=2               MIG mode is on, with two devices
 *   gpu.0.mig.1.uuid= gpu.0.mig.1.name= gpu.0.mig.1.total= gpu.0.mig.1.used=
 *
 * A key that is missing reads as "not supported", as on a card that lacks the sensor.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  SUCCESS = 0,
  INVALID_ARGUMENT = 2,
  NOT_SUPPORTED = 3,
  NOT_FOUND = 6,
  INSUFFICIENT_SIZE = 7,
  DRIVER_NOT_LOADED = 9,
  TIMEOUT = 10,
  GPU_IS_LOST = 15,
};

typedef uintptr_t device_t; /* 1 + index of the GPU, and 256 x (1 + index of the MIG device) */

typedef struct {
  unsigned long long total, free, used;
} memory_t;

typedef struct {
  unsigned int version;
  unsigned long long total, reserved, free, used;
} memory_v2_t;

typedef struct {
  unsigned int gpu, memory;
} utilization_t;

typedef struct {
  unsigned int version, sensor;
  int temperature;
} temperature_t;

typedef struct {
  unsigned long long reference, violation;
} violation_t;

typedef struct {
  device_t device;
  unsigned long long type, data;
  unsigned int gpu_instance, compute_instance;
} event_t;

typedef struct {
  device_t device;
  unsigned long told;
} event_set_t;

enum { XID_EVENT = 8 };

static int look_up(const char *key, char *value, size_t size) {
  const char *path = getenv("FAKE_NVML_STATE");
  FILE *file = path ? fopen(path, "r") : NULL;
  char line[512];
  size_t length = strlen(key);
  int found = 0;
  if (!file) return 0;
  while (!found && fgets(line, sizeof line, file)) {
    if (strncmp(line, key, length) || line[length] != '=') continue;
    line[strcspn(line, "\r\n")] = '\0';
    snprintf(value, size, "%s", line + length + 1);
    found = 1;
  }
  fclose(file);
  return found;
}

static int look_up_number(const char *key, unsigned long long *value) {
  char text[64];
  if (!look_up(key, text, sizeof text)) return 0;
  *value = strtoull(text, NULL, 10);
  return 1;
}

static int is_part(device_t device) { return (device >> 8) != 0; }

static void key_of(device_t device, const char *field, char *key, size_t size) {
  unsigned long gpu = (device & 0xff) - 1, part = (device >> 8) - 1;
  if (is_part(device)) snprintf(key, size, "gpu.%lu.mig.%lu.%s", gpu, part, field);
  else snprintf(key, size, "gpu.%lu.%s", gpu, field);
}

static int is_lost(device_t device) {
  unsigned long long lost = 0;
  char key[64];
  key_of(device & 0xff, "lost", key, sizeof key);
  look_up_number(key, &lost);
  return lost != 0;
}

static int number_of(device_t device, const char *field, unsigned long long *value) {
  char key[64];
  if (is_lost(device)) return GPU_IS_LOST;
  key_of(device, field, key, sizeof key);
  return look_up_number(key, value) ? SUCCESS : NOT_SUPPORTED;
}

static int text_of(device_t device, const char *field, char *text, unsigned int size) {
  char key[64], value[256];
  if (is_lost(device)) return GPU_IS_LOST;
  key_of(device, field, key, sizeof key);
  if (!look_up(key, value, sizeof value)) return NOT_SUPPORTED;
  if (strlen(value) + 1 > size) return INSUFFICIENT_SIZE;
  strcpy(text, value);
  return SUCCESS;
}

static unsigned long long count(void) {
  unsigned long long value = 0;
  look_up_number("count", &value);
  return value;
}

int nvmlInitWithFlags(unsigned int flags) {
  unsigned long long error = SUCCESS;
  (void)flags;
  if (!getenv("FAKE_NVML_STATE")) return DRIVER_NOT_LOADED;
  look_up_number("init_error", &error);
  return (int)error;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "pretended NVML error"; }

int nvmlSystemGetDriverVersion(char *version, unsigned int size) {
  char value[80];
  if (!look_up("driver", value, sizeof value)) return NOT_SUPPORTED;
  if (strlen(value) + 1 > size) return INSUFFICIENT_SIZE;
  strcpy(version, value);
  return SUCCESS;
}

int nvmlSystemGetNVMLVersion(char *version, unsigned int size) {
  snprintf(version, size, "13.0");
  return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13000; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 13000; return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned int *value) { *value = (unsigned int)count(); return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device_t *device) {
  if (index >= count()) return INVALID_ARGUMENT;
  *device = index + 1;
  return is_lost(*device) ? GPU_IS_LOST : SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(device_t device, unsigned int *value) {
  unsigned long long parts = 0;
  if (is_part(device)) return INVALID_ARGUMENT;
  number_of(device, "mig", &parts);
  *value = (unsigned int)parts;
  return SUCCESS;
}

int nvmlDeviceGetMigMode(device_t device, unsigned int *current, unsigned int *pending) {
  unsigned long long parts = 0;
  int code = number_of(device, "mig", &parts);
  *current = *pending = parts > 0;
  return code;
}

int nvmlDeviceGetMigDeviceHandleByIndex(device_t device, unsigned int index, device_t *part) {
  char uuid[256];
  unsigned int parts = 0;
  nvmlDeviceGetMaxMigDeviceCount(device, &parts);
  if (index >= parts) return INVALID_ARGUMENT;
  *part = (device & 0xff) | ((device_t)(index + 1) << 8);
  return text_of(*part, "uuid", uuid, sizeof uuid) == SUCCESS ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device_t part, device_t *device) {
  *device = part & 0xff;
  return is_part(part) ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceIsMigDeviceHandle(device_t device, unsigned int *value) {
  *value = (unsigned int)is_part(device);
  return SUCCESS;
}

int nvmlDeviceGetUUID(device_t device, char *uuid, unsigned int size) {
  return text_of(device, "uuid", uuid, size);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, device_t *device) {
  char candidate[256];
  unsigned long long hanging = 1;
  while (look_up_number("hang", &hanging) && hanging) usleep(20000);
  for (unsigned int gpu = 0; gpu < count(); gpu++) {
    unsigned int parts = 0;
    *device = gpu + 1;
    nvmlDeviceGetMaxMigDeviceCount(*device, &parts);
    for (unsigned int part = 0; part <= parts; part++) {
      *device = (gpu + 1) | ((device_t)part << 8);
      if (text_of(*device, "uuid", candidate, sizeof candidate) == SUCCESS &&
          strcmp(candidate, uuid) == 0)
        return SUCCESS;
    }
  }
  return NOT_FOUND;
}

int nvmlDeviceGetIndex(device_t device, unsigned int *index) {
  *index = (unsigned int)(is_part(device) ? (device >> 8) - 1 : device - 1);
  return SUCCESS;
}

int nvmlDeviceGetName(device_t device, char *name, unsigned int size) {
  return text_of(device, "name", name, size);
}

int nvmlDeviceGetMemoryInfo(device_t device, memory_t *memory) {
  int code = number_of(device, "total", &memory->total);
  memory->used = 0;
  number_of(device, "used", &memory->used);
  memory->free = memory->total - memory->used;
  return code;
}

int nvmlDeviceGetMemoryInfo_v2(device_t device, memory_v2_t *memory) {
  memory_t plain = {0, 0, 0};
  int code = nvmlDeviceGetMemoryInfo(device, &plain);
  memory->total = plain.total;
  memory->free = plain.free;
  memory->used = plain.used;
  memory->reserved = 0;
  return code;
}

int nvmlDeviceGetTemperature(device_t device, unsigned int sensor, unsigned int *temperature) {
  unsigned long long value = 0;
  int code = number_of(device, "temperature", &value);
  (void)sensor;
  *temperature = (unsigned int)value;
  return code;
}

int nvmlDeviceGetTemperatureV(device_t device, temperature_t *temperature) {
  unsigned int value = 0;
  int code = nvmlDeviceGetTemperature(device, temperature->sensor, &value);
  temperature->temperature = (int)value;
  return code;
}

int nvmlDeviceGetPowerUsage(device_t device, unsigned int *milliwatts) {
  unsigned long long value = 0;
  int code = number_of(device, "power", &value);
  *milliwatts = (unsigned int)value;
  return code;
}

int nvmlDeviceGetUtilizationRates(device_t device, utilization_t *utilization) {
  unsigned long long value = 0;
  int code = number_of(device, "utilization", &value);
  utilization->gpu = (unsigned int)value;
  utilization->memory = 0;
  return code;
}

int nvmlDeviceGetTotalEnergyConsumption(device_t device, unsigned long long *millijoules) {
  return number_of(device, "energy", millijoules);
}

int nvmlDeviceGetCurrentClocksEventReasons(device_t device, unsigned long long *reasons) {
  return number_of(device, "reasons", reasons);
}

int nvmlDeviceGetViolationStatus(device_t device, int policy, violation_t *status) {
  char field[32];
  snprintf(field, sizeof field, "violation.%d", policy);
  status->reference = 0;
  return number_of(device, field, &status->violation);
}

int nvmlDeviceGetTotalEccErrors(device_t device, int kind, int counter, unsigned long long *errors) {
  char field[32];
  (void)counter;
  snprintf(field, sizeof field, "ecc.%d", kind);
  return number_of(device, field, errors);
}

/* How many faults a card has had; `number` is set to the one at `place`, counted from 0. */
static int xids_of(device_t device, unsigned long place, unsigned long *had,
                   unsigned long long *number) {
  char key[64], value[256], *rest = value;
  key_of(device & 0xff, "xids", key, sizeof key);
  *had = 0;
  if (!look_up(key, value, sizeof value)) return NOT_SUPPORTED;
  for (char *word = strtok_r(rest, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
    if ((*had)++ == place) *number = strtoull(word, NULL, 10);
  return SUCCESS;
}

int nvmlEventSetCreate(event_set_t **set) {
  *set = calloc(1, sizeof **set);
  return *set ? SUCCESS : INVALID_ARGUMENT;
}

/* As on a real card, what was before the registration is not told. */
int nvmlDeviceRegisterEvents(device_t device, unsigned long long types, event_set_t *set) {
  unsigned long long number = 0;
  if (!(types & XID_EVENT)) return INVALID_ARGUMENT;
  set->device = device;
  return xids_of(device, 0, &set->told, &number);
}

int nvmlEventSetWait_v2(event_set_t *set, event_t *event, unsigned int milliseconds) {
  unsigned long had = 0;
  unsigned long long number = 0;
  (void)milliseconds;
  if (xids_of(set->device, set->told, &had, &number) != SUCCESS || had <= set->told) return TIMEOUT;
  set->told++;
  memset(event, 0, sizeof *event);
  event->device = set->device;
  event->type = XID_EVENT;
  event->data = number;
  return SUCCESS;
}

int nvmlEventSetFree(event_set_t *set) {
  free(set);
  return SUCCESS;
}
